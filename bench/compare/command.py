"""``python -m bench compare``: every target of docs/performance.md beside what is measured.

Contenders take turns, A B A B, in short rounds; each ratio is taken between two turns next to each
other, and what is printed is the median over the rounds, with the least and the most. Exit code 0
if every target that was measured is met. ``--write`` puts tables, raw figures and pictures into
``docs/``.
"""

import time
from collections.abc import Sequence

from bench.compare.contenders import EXTERNAL, NAMES, workshop
from bench.compare.measure import FULL, QUICK, Comparison
from bench.compare.plan import FOUR, SECTIONS, Duel
from bench.compare.report import summary, write
from bench.compare.results import Results
from bench.support.arguments import Arguments

_QUICK_NOTE = (
    "A quick run: few and short turns, and crowds of a tenth, so what is said of 10,000 and 15,000"
    " connections stands for 1,000 and 1,500."
)


def main(arguments: Sequence[str]) -> int:
    """Run the comparison; returns the exit code."""
    parser = Arguments("compare", __doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes, and rougher")
    parser.names("--only", SECTIONS, "what is measured")
    parser.names("--against", NAMES, "contenders")
    parser.option(
        "--relay",
        "",
        "one more to compare with, started by this command; {port} stands for the port it must"
        " listen on, on 127.0.0.1, without TLS",
        metavar="COMMAND",
    )
    for name, what in (
        ("rounds", "turns of each pair"),
        ("seconds", "of a turn"),
        ("storm", "phones that come back at once"),
    ):
        full, quick = getattr(FULL, name), getattr(QUICK, name)
        text = f"{what}; default: {full}, quick: {quick}"
        parser.add_argument(f"--{name}", type=type(full), help=text)
    parser.add_argument("--write", action="store_true", help="put the results into docs/")
    options = parser.parse_args(arguments)
    pace = QUICK if options.quick else FULL
    given = {name: getattr(options, name) for name in ("rounds", "seconds", "storm")}
    pace = pace._replace(**{name: value for name, value in given.items() if value is not None})
    results = Results()
    began = time.monotonic()
    with workshop(options.relay) as shop:
        comparison = Comparison(shop, results, pace, options.against)
        if options.relay:
            comparison.external([Duel(load, "fastrelay", EXTERNAL) for load in FOUR])
        for section in options.only:
            comparison.run(section)
    note = _QUICK_NOTE if options.quick else ""
    text, met = summary(results, time.monotonic() - began, note)
    print(text)
    if options.write:
        write(results, text)
    return 0 if met else 1
