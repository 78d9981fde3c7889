"""``python -m bench unchanged --base DIR``: whether a change left the relay's cost as it was.

The relay of this checkout and that of another one (of the commit before the change, say) take
turns, A B B A, for a twentieth of a second each. Compared are instructions a round trip (if
valgrind is installed), CPU a round trip under the four loads, CPU an upgrade, and bytes of an idle
connection. --tls adds all of that over TLS, and the CPU of a flood of messages of one byte over
TLS against plain.

A ratio is taken within each pair of turns. Printed is the median over the pairs, with its interval:
the true median lies within it with a confidence of 95 %. Exit code 0 if every median is within its
bound.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.compare.contenders import workshop
from bench.compare.plan import FOUR, LARGE
from bench.compare.ratios import table
from bench.compare.results import Results
from bench.compare.turns import say
from bench.support.arguments import Arguments
from bench.support.machine import describe
from bench.unchanged.measure import PLAIN, TLS, Checkouts, Comparison

PARTS: Final = ("instructions", "loads", "upgrades", "idle", "flood")
BOUNDS: Final = {
    (f"{name}, {label}", figure): bound
    for name in (PLAIN, TLS)
    for figure, bound, labels in (
        ("instructions", 1.02, [load.label for load in FOUR]),
        ("cpu", 1.03, [load.label for load in FOUR]),
        ("cpu_upgrade", 1.03, ["upgrades"]),
        ("memory", 1.03, ["idle"]),
    )
    for label in labels
}
"""The largest ratios that count as unchanged, by load and figure."""

# How many reads it takes to receive large messages over TLS depends on timing, and so do the
# instructions: two runs of the same relay differ by up to 8 %.
del BOUNDS[f"{TLS}, {LARGE.label}", "instructions"]


def main(arguments: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    parser = Arguments("unchanged", __doc__)
    parser.add_argument(
        "--base", type=Path, required=True, metavar="DIR", help="the other checkout"
    )
    parser.add_argument("--tls", action="store_true", help="over TLS as well")
    parser.option("--pairs", 80, "pairs of turns for each ratio; at least 20 say something")
    parser.option("--seconds", 0.05, "length of a turn")
    parser.option("--processes", 8, "relays of each checkout, over which the pairs are spread")
    parser.names("--only", PARTS, "what is compared; the flood only with --tls")
    options = parser.parse_args(arguments)
    results = Results()
    began = time.monotonic()
    with workshop() as shop:
        checkouts = Checkouts(shop, options.base)
        comparison = Comparison(
            checkouts, results, options.pairs, options.seconds, options.processes
        )
        for name in (PLAIN, TLS) if options.tls else (PLAIN,):
            for part in options.only:
                if part != "flood":
                    say(f"{part}, {name}:")
                    getattr(comparison, part)(name)
        if options.tls and "flood" in options.only:
            say("flood:")
            comparison.flood()
    figures = ("instructions", "cpu", "cpu_upgrade", "memory")
    text, within = table(results, figures, BOUNDS)
    print(f"{text}\n\nMeasured in {time.monotonic() - began:.0f} s on {describe()}.")
    return 0 if within else 1
