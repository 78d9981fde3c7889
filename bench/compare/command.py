"""``python -m bench compare``: every target of docs/performance.md beside what is measured.

Contenders take turns, round after round; what is printed are medians and, for ratios, the spread
over rounds. ``--write`` puts the tables, the raw figures and the picture into ``docs/``.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.compare.contenders import Running, Workshop, workshop
from bench.compare.plan import IDLE, RUNS, SMALL, TLS_RUNS, Load
from bench.compare.report import Figures, summary, write

_IDLE_BESIDE = 10_000


def main(arguments: Sequence[str]) -> int:
    """Run the comparison; returns 0 if every target that could be measured is met."""
    parser = argparse.ArgumentParser(prog="python -m bench compare", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes, and rougher")
    parser.add_argument("--rounds", type=int, help="turns of each contender (default: 5; quick: 1)")
    parser.add_argument("--seconds", type=float, help="of each turn (default: 2; quick: 0.7)")
    parser.add_argument("--write", action="store_true", help="put the results into docs/")
    options = parser.parse_args(arguments)
    rounds = options.rounds or (1 if options.quick else 5)
    seconds = options.seconds or (0.7 if options.quick else 2.0)
    figures: Figures = defaultdict(list)
    began = time.monotonic()
    with workshop() as shop:
        for name, why in shop.absent.items():
            print(f"without {name}: {why}", file=sys.stderr)
        measurement = _Measurement(shop, figures, seconds)
        for number in range(rounds):
            _say(f"round {number + 1} of {rounds}")
            measurement.round_trips(RUNS)
            measurement.round_trips(TLS_RUNS, shop.ca_file)
            measurement.idle(1000 if options.quick else 3000)
        measurement.beside(2000 if options.quick else _IDLE_BESIDE)
        measurement.scaling((500, 2000) if options.quick else (1000, 5000, 15_000))
        measurement.storm(1000 if options.quick else 5000)
    text, met = summary(figures, time.monotonic() - began)
    print(text)
    if options.write:
        write(figures, text)
    return 0 if met else 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class _Measurement:
    """One thing after another, into ``figures``."""

    def __init__(self, shop: Workshop, figures: Figures, seconds: float) -> None:
        self._shop = shop
        self._figures = figures
        self._seconds = seconds

    def round_trips(self, runs: dict[Load, tuple[str, ...]], ca_file: str = "") -> None:
        """Each load, on each contender in turn."""
        with ExitStack() as stack:
            names = {name for contenders in runs.values() for name in contenders}
            started = {
                name: stack.enter_context(self._shop.start(name))
                for name in sorted(names - set(self._shop.absent))
            }
            for load, contenders in runs.items():
                for name in contenders:
                    if name in started:
                        self._round_trip(load, name, started[name], load.label, ca_file)

    def _round_trip(
        self, load: Load, name: str, contender: Running, label: str, ca_file: str = ""
    ) -> None:
        found = _generate(
            "roundtrip",
            *_where(contender, ca_file),
            *("--backend", str(contender.backend)),
            *("--conns", str(load.conns), "--size", str(load.size)),
            *("--window", str(load.window), "--rate", str(load.rate)),
            *("--seconds", str(self._seconds)),
        )
        self._keep(label, name, found)

    def _keep(self, label: str, name: str, found: dict[str, float]) -> None:
        for figure, value in found.items():
            self._figures[label, name, figure].append(value)
        _say(f"  {label:<28}{name:<16}" + "  ".join(f"{k} {v:.3g}" for k, v in found.items()))

    def idle(self, count: int) -> None:
        """Memory and upgrades of a fresh relay, each contender in turn."""
        for name in IDLE:
            if name not in self._shop.absent:
                with self._shop.start(name) as contender:
                    ca_file = self._shop.ca_file if name.endswith("tls") else ""
                    number = count // 3 if ca_file else count
                    found = _generate("idle", *_where(contender, ca_file), "--count", str(number))
                    self._keep("idle", name, found)

    def beside(self, count: int) -> None:
        """A round trip with and without many idle connections beside it, in turns."""
        with (
            self._shop.start("fastrelay") as crowded,
            self._shop.start("fastrelay") as empty,
            _held(crowded, count),
        ):
            for _ in range(3):
                self._round_trip(SMALL, "with idle", crowded, "beside")
                self._round_trip(SMALL, "without", empty, "beside")

    def scaling(self, counts: Sequence[int]) -> None:
        """Memory a connection from few to many."""
        for count in counts:
            with self._shop.start("fastrelay") as relay:
                found = _generate("idle", *_where(relay), "--count", str(count))
                for name in (
                    f"{count} idle",
                    *(["fewest"] * (count == counts[0])),
                    *(["most"] * (count == counts[-1])),
                ):
                    self._keep("scaling", name, found)

    def storm(self, count: int) -> None:
        """Traffic at a fixed rate, alone and while everybody reconnects at once."""
        load = Load(16, 256, 1, rate=1000.0)
        with self._shop.start("fastrelay") as relay:
            self._round_trip(load, "calm", relay, "storm")
            arguments = (*_where(relay), "--count", str(count))
            with _started("idle", *arguments) as storm:
                self._round_trip(load, "stormy", relay, "storm")
                found = json.loads(storm.communicate()[0])
            self._keep("storm", "reconnects", found)


def _where(contender: Running, ca_file: str = "") -> tuple[str, ...]:
    relay = contender.relay
    return ("--port", str(relay.port), "--pid", str(relay.pid), "--ca-file", ca_file)


@contextmanager
def _started(generator: str, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    command = (sys.executable, "-m", f"bench.load.{generator}", *arguments)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _held(contender: Running, count: int) -> Iterator[None]:
    """So many idle connections, while the block runs."""
    arguments = (*_where(contender), "--count", str(count), "--hold")
    with _started("idle", *arguments) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield


def _generate(generator: str, *arguments: str) -> dict[str, float]:
    """Run a load generator to its end.

    Raises:
        RuntimeError: a reply was wrong.
    """
    with _started(generator, *arguments) as process:
        output, _ = process.communicate(timeout=170)
    found: dict[str, float] = json.loads(output)
    if "error" in found:
        raise RuntimeError(f"{generator} {' '.join(arguments)}: {found['error']}")
    return found
