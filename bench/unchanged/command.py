"""``python -m bench unchanged --base DIR``: whether a change left the relay's cost as it was.

The relay of this checkout and that of another one (of the commit before the change, say) take
turns, A B B A, for a twentieth of a second each. Compared are instructions a round trip (if
valgrind is installed), CPU a round trip under the four loads, CPU an upgrade, and bytes of an idle
connection. ``--tls`` adds all of that over TLS, and the CPU of a flood of messages of one byte over
TLS against plain.

A ratio is taken within each pair of turns. Printed is the median over the pairs, with its interval:
the true median lies within it with a confidence of 95 %. Exit code 0 if every median is within its
bound.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from bench.compare.contenders import workshop
from bench.compare.results import Results
from bench.compare.turns import say
from bench.support.machine import describe
from bench.unchanged.measure import PLAIN, TLS, Checkouts, Comparison
from bench.unchanged.report import table

PARTS = ("instructions", "loads", "upgrades", "idle")


def _parts(text: str) -> list[str]:
    """A comma-separated list.

    Raises:
        argparse.ArgumentTypeError: one item is unknown.
    """
    chosen = text.split(",")
    if unknown := set(chosen) - {*PARTS, "flood"}:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {PARTS}")
    return chosen


def main(arguments: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench unchanged", description=__doc__)
    parser.add_argument(
        "--base", type=Path, required=True, metavar="DIR", help="the other checkout"
    )
    parser.add_argument("--tls", action="store_true", help="over TLS as well")
    parser.add_argument(
        "--pairs", type=int, default=80, help="of turns, at least 20; default: %(default)s"
    )
    parser.add_argument("--seconds", type=float, default=0.05, help="a turn; default: %(default)g")
    parser.add_argument(
        "--only",
        type=_parts,
        default=[*PARTS, "flood"],
        metavar="PARTS",
        help=f"of {','.join(PARTS)},flood (flood only with --tls); default: all",
    )
    options = parser.parse_args(arguments)
    results = Results()
    began = time.monotonic()
    with workshop() as shop:
        checkouts = Checkouts(shop, options.base)
        comparison = Comparison(checkouts, results, options.pairs, options.seconds)
        for name in (PLAIN, TLS) if options.tls else (PLAIN,):
            for part in PARTS:
                if part in options.only:
                    say(f"{part}, {name}:")
                    getattr(comparison, part)(name)
        if options.tls and "flood" in options.only:
            say("flood:")
            comparison.flood()
    text, within = table(results)
    print(f"{text}\n\nMeasured in {time.monotonic() - began:.0f} s on {describe()}.")
    return 0 if within else 1
