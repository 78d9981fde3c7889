"""One load beside honest peers: what both sides saw, and what the relay took meanwhile."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from bench.hostile.attackers import Strength, attackers
from bench.hostile.honest import PATIENCE, Beside, Bystanders
from bench.hostile.loads import Load
from bench.hostile.process import Child
from bench.support.meter import measure_cpu, measure_resident, measure_wait
from bench.support.relay import Relay

_SAMPLE: Final = 0.1
_RAMP: Final = 0.3
"""Seconds of attack before the honest peers are measured."""

_AT_REST: Final = 2.0
_MOST_GROWTH: Final = 60.0
_GROWTH: Final = 1024 * 1024
"""Memory that does not grow by so many bytes in two seconds has come to rest; a minute at most."""

_HELD: Final = ("_held_bytes", "_backlog_bytes")
"""Ends of the names of gauges that count what a relay holds for its peers, all or a part of it."""


def measure_load(
    relay: Relay, tls: bool, load: Load, strength: Strength, seconds: float
) -> dict[str, Any]:
    """The figures of one row; those of the relay's process only where its pid is known (not 0).

    Raises:
        Failed: attackers or honest peers could not be set up, or ended.
    """
    with (
        Child(Bystanders, Beside(relay.port, tls, seconds)) as honest,
        attackers(relay.port, tls, load, strength) as group,
        _gauges(relay) as held,
    ):
        honest.wait()
        group.begin()
        began = time.perf_counter()
        watch = _Watch(relay.pid, seconds)
        time.sleep(_RAMP if load.floods or load.connects else 0.0)
        honest.tell()
        watch.until_word_of(honest)
        seen = honest.wait()
        if load.resident:
            watch.until_memory_rests()
        attacked, attack_seconds = group.stop(), time.perf_counter() - began
    return {
        **seen,
        **watch.figures(),
        "held_peak": max(held, default=None),
        "attack": attacked,
        "attack_seconds": attack_seconds,
        "load_average": os.getloadavg()[0],
    }


class _Watch:
    """CPU over the time that honest peers are measured, memory for as long as they wait."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._seconds = seconds
        self._resident = [measure_resident(pid)] if pid else []
        self._cores: float | None = None
        self._waiting: float | None = None

    def until_word_of(self, child: Child) -> None:
        """Look again and again until the child has something to say, or must have had."""
        if not self._pid:
            return
        began = time.perf_counter()
        before, waited = measure_cpu(self._pid), measure_wait(self._pid)
        while not child.has_word(_SAMPLE):
            took = time.perf_counter() - began
            self._resident.append(measure_resident(self._pid))
            if took <= self._seconds:
                self._cores = (measure_cpu(self._pid) - before) / took
                self._waiting = (measure_wait(self._pid) - waited) / took
            if took > self._seconds + 4 * PATIENCE:
                return

    def until_memory_rests(self) -> None:
        """Look on while it still grows: what is sent may take longer to arrive than we measure."""
        deadline = time.perf_counter() + _MOST_GROWTH
        grown = time.perf_counter()
        while self._pid and time.perf_counter() < min(deadline, grown + _AT_REST):
            resident = measure_resident(self._pid)
            if resident > max(self._resident) + _GROWTH:
                self._resident.append(resident)
                grown = time.perf_counter()
            time.sleep(_SAMPLE)

    def figures(self) -> dict[str, float | None]:
        """``waiting``: the share of the time that it was ready to run and had no processor."""
        first, most = (self._resident[0], max(self._resident)) if self._resident else (None, None)
        return {
            "cores": self._cores,
            "waiting": self._waiting,
            "resident_before": first,
            "resident_peak": most,
        }


@contextlib.contextmanager
def _gauges(relay: Relay) -> Iterator[list[float]]:
    """What the relay says it holds, once a second, where it has a metrics page."""
    found: list[float] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(1.0):
            with contextlib.suppress(OSError, ValueError):
                gauges = relay.scrape()
                by_end = (
                    [
                        value
                        for name, value in gauges.items()
                        if name.partition("{")[0].endswith(end)
                    ]
                    for end in _HELD
                )
                found.extend(sum(held) for held in islice(filter(None, by_end), 1))

    looking = threading.Thread(target=look, daemon=True)
    if relay.metrics_port:
        looking.start()
    try:
        yield found
    finally:
        stop.set()
