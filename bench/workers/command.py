"""``python -m bench workers``: one process beside a supervisor with two workers.

Both take turns. Compared are the CPU of a round trip under the four loads and of an upgrade, as
sums over all processes, plain and (with --tls) over TLS, where half of the connections are spliced.
Shown besides: how evenly connections and CPU time are spread over the workers, and the memory of
one more worker (PSS, so that what processes share is counted once).

The table for more cores is computed from these figures: it was not measured.
"""

import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.compare.plan import FOUR, Load
from bench.compare.turns import say
from bench.support.arguments import Arguments
from bench.support.certificate import Certificate, make_certificate
from bench.support.generator import Generator
from bench.support.machine import describe
from bench.support.relay import OURS, Relay, running

_CORES: Final = (2, 4, 8, 16)
_SETTLE: Final = 1.0
"""Seconds until a relay that has started is idle."""

_LISTEN: Final = "--insecure-listen 127.0.0.1:{port}"


class Pair:
    """A relay of one process, and one of several, each with a load generator."""

    def __init__(self, stack: ExitStack, workers: int, certificate: Certificate | None) -> None:
        self.relays: list[Relay] = []
        self.generators: list[Generator] = []
        ca_file = "" if certificate is None else str(certificate.chain)
        for count in (1, workers):
            relay = stack.enter_context(running(_command(certificate, count)))
            self.relays.append(relay)
            self.generators.append(stack.enter_context(Generator(relay, ca_file)))

    def ratio(self, pairs: int, measure: Callable[[Generator], float]) -> "Ratio":
        """Turns of both, A B B A."""
        found: list[list[float]] = [[], []]
        for number in range(pairs):
            order = (0, 1) if number % 2 else (1, 0)
            for which in order:
                found[which].append(measure(self.generators[which]))
        return Ratio(*found)


class Ratio:
    """What one process took in each pair of turns, and what several took."""

    def __init__(self, one: list[float], several: list[float]) -> None:
        self.one, self.several = statistics.median(one), statistics.median(several)
        ratios = sorted(b / a for a, b in zip(one, several, strict=True))
        self.median = statistics.median(ratios)
        self.low, self.high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]

    def __str__(self) -> str:
        return (
            f"{self.one * 1e6:8.2f} µs {self.several * 1e6:8.2f} µs   {self.median:.3f}"
            f"  (quartiles {self.low:.3f}-{self.high:.3f})"
        )


def main(arguments: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    parser = Arguments("workers", __doc__)
    parser.add_argument("--tls", action="store_true", help="over TLS as well")
    parser.option("--pairs", 20, "pairs of turns for each ratio")
    parser.option("--seconds", 0.15, "length of a turn")
    parser.option("--upgrades", 300, "upgrades of a turn")
    parser.option("--workers", 2, "workers of the relay with several")
    options = parser.parse_args(arguments)
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        made = make_certificate(Path(directory)) if options.tls else None
        for certificate in (None, made) if options.tls else (None,):
            lines += _compare(options, certificate)
        lines += _memory(options.workers)
    print("\n".join(lines))
    print(f"\nMeasured on {describe()}.")
    return 0


def _command(certificate: Certificate | None, workers: int) -> str:
    command = f"{OURS} --workers {workers}"
    if certificate is None:
        return command
    files = f"--tls-cert {certificate.chain} --tls-key {certificate.key}"
    return command.replace(_LISTEN, f"--https-listen 127.0.0.1:{{port}} {files}")


def _compare(options: object, certificate: Certificate | None) -> Iterator[str]:
    pairs, seconds = options.pairs, options.seconds  # type: ignore[attr-defined]
    count, workers = options.upgrades, options.workers  # type: ignore[attr-defined]
    name = "plain" if certificate is None else "TLS"
    upgrade: Ratio | None = None
    with ExitStack() as stack:
        pair = Pair(stack, workers, certificate)
        yield f"{name}: CPU, one process, {workers} workers (sum), ratio"
        for load in FOUR:
            say(f"{name}, {load.label}")
            yield f"  {load.label:<20} {pair.ratio(pairs, _round_trip(load, seconds))}"
        say(f"{name}, upgrades")
        upgrade = pair.ratio(pairs, lambda generator: _upgrades(generator, count))
        yield f"  {'upgrade':<20} {upgrade}"
        yield from _evenness(pair.relays[1], workers)
        yield from _more_cores(upgrade, name)


def _round_trip(load: Load, seconds: float) -> Callable[[Generator], float]:
    return lambda generator: generator.run(load.shape, **load.arguments(), seconds=seconds)["cpu"]


def _upgrades(generator: Generator, count: int) -> float:
    cpu = generator.run("connect", count=count)["cpu_upgrade"]
    generator.run("drop")
    return cpu


def _evenness(relay: Relay, workers: int) -> Iterator[str]:
    samples = relay.scrape()
    cpu = [
        samples[f'pyrycode_relay_worker_cpu_seconds_total{{worker="{n}"}}'] for n in range(workers)
    ]
    shares = "  ".join(f"{share / sum(cpu):.2f}" for share in cpu)
    yield f"  shares of the workers' CPU over all of this: {shares}"


def _more_cores(upgrade: Ratio, name: str) -> Iterator[str]:
    """What so many cores can do, if each worker's share of its core is used up."""
    yield f"  computed, not measured: upgrades a second with {name}, one worker a core"
    handed = 2 * (upgrade.several - upgrade.one)  # with two workers half are handed over
    for cores in _CORES:
        each = upgrade.one + handed * (1 - 1 / cores)
        yield f"    {cores:2d} cores: {cores / each:10,.0f}"


def _memory(workers: int) -> Iterator[str]:
    """PSS of a relay with N and with N + 1 workers, idle."""
    found = []
    for count in (1, workers, workers + 1):
        with running(_command(None, count)) as relay:
            _wait_for_workers(relay, count)
            time.sleep(_SETTLE)
            found.append(pss(relay.pid))
    yield f"memory (PSS): one process {found[0] / 1e6:.1f} MB; supervisor and {workers} workers"
    yield f"  {found[1] / 1e6:.1f} MB; one more worker {(found[2] - found[1]) / 1e6:.1f} MB"


def _wait_for_workers(relay: Relay, count: int) -> None:
    while count > 1 and any(
        not relay.scrape()[f'pyrycode_relay_worker_up{{worker="{n}"}}'] for n in range(count)
    ):
        pass


def pss(pid: int) -> int:
    """The bytes of memory of a process and its children; what is shared counts in parts."""
    total = 0
    for member in _family(pid):
        text = Path(f"/proc/{member}/smaps_rollup").read_text()
        total += int(re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024
    return total


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]
