"""``python -m bench tail``: what the slowest one in a thousand round trips waits for.

Traffic at a fixed rate, with many idle connections beside it and phones that come and go. The
relay with info logging and a scrape every second takes turns with one that logs errors only and
is not scraped, and with one whose garbage collector is as Python sets it: what the log, the scrape
and the collector add must not show.
"""

import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from bench.compare.contenders import Contender, Workshop, workshop
from bench.compare.plan import Load
from bench.compare.results import Results
from bench.compare.turns import say, show, take_turns, turn
from bench.support.arguments import Arguments
from bench.support.generator import Generator
from bench.support.machine import describe

LOAD = Load(16, 256, 1, rate=1000.0)
CHURN = 25.0
"""Phones a second that come and go, each a few lines in the log."""

EVERYTHING, QUIET, UNTAMED = "all on", "no log, no scrape", "all on, collector untamed"
_SCRAPE_EVERY = 1.0


def measure_tail(
    shop: Workshop, results: Results, connections: int, rounds: int, seconds: float
) -> None:
    """So many turns of each of the three relays, with so many idle connections held by each."""
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(shop.start("fastrelay", flags, module))
            for name, flags, module in (
                (EVERYTHING, "--log-level info", "fastrelay"),
                (QUIET, "--log-level error", "fastrelay"),
                (UNTAMED, "--log-level info", "bench.experiments.variant garbage_collector"),
            )
        }
        crowds = {}
        for name, contender in started.items():
            crowds[name] = stack.enter_context(Generator(contender.relay))
            show("tail", name, crowds[name].run("connect", count=connections))

        def measure(name: str) -> dict[str, float]:
            crowds[name].begin("churn", rate=CHURN, seconds=seconds)
            with _scraping(started[name] if name != QUIET else None):
                found = turn(started[name], LOAD, seconds)
            crowds[name].result()
            return found

        measures = {name: partial(measure, name) for name in (UNTAMED, EVERYTHING, QUIET)}
        for number in range(rounds):
            say(f" round {number + 1} of {rounds}")
            take_turns(results, "tail", measures, number)


@contextmanager
def _scraping(contender: Contender | None) -> Iterator[None]:
    """Ask for its metrics every second, in a thread; ``None``: not at all."""
    over = threading.Event()

    def scrape(port: int) -> None:
        while not over.wait(_SCRAPE_EVERY):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                page.read()

    if contender is None:
        yield
        return
    thread = threading.Thread(target=scrape, args=(contender.relay.metrics_port,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def table(results: Results) -> str:
    """The three side by side, in milliseconds, as Markdown."""
    figures = ("p50", "p99", "p999", "longest")
    lines = ["| round trip, ms | p50 | p99 | p99.9 | longest |", "|---|---|---|---|---|"]
    for name in (QUIET, EVERYTHING, UNTAMED):
        middles = [results.middle("tail", name, figure) or 0.0 for figure in figures]
        lines.append(f"| {name} | {' | '.join(f'{value * 1e3:.2f}' for value in middles)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; returns 0."""
    parser = Arguments("tail", __doc__)
    parser.option("--connections", 10_000, "idle connections beside the traffic")
    parser.option("--rounds", 5, "turns of each relay")
    parser.option("--seconds", 4.0, "length of a turn")
    options = parser.parse_args(arguments)
    results = Results()
    with workshop() as shop:
        measure_tail(shop, results, options.connections, options.rounds, options.seconds)
    print(f"{table(results)}\n\n{describe()}")
    return 0
