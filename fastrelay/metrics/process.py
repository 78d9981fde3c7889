"""CPU, memory and descriptors of the process, under the standard ``process_`` names.

The library's own collector lists every open descriptor on each scrape. With 10,000 connections that
blocks the event loop for 9 ms (``bench experiments scrape``). Linux gives their number for the cost
of one ``stat``.
"""

import os
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

_PROC: Final = Path("/proc")
_DESCRIPTORS: Final = _PROC / "self" / "fd"
_USER, _SYSTEM = 11, 12
"""Places in ``/proc/<pid>/stat`` behind the name of the program (proc(5))."""


class ProcessUse(NamedTuple):
    """What processes use: seconds of CPU, bytes of memory, descriptors."""

    cpu: float
    virtual: int
    resident: int
    descriptors: int


def use_of(pid: int) -> ProcessUse | None:
    """What another process uses; ``None`` if it has ended."""
    directory = _PROC / str(pid)
    try:
        return ProcessUse(cpu_of(pid), *_memory(directory), open_descriptors(directory / "fd"))
    except (OSError, ValueError):
        return None


def own_use() -> ProcessUse:
    """What this process uses."""
    return ProcessUse(time.process_time(), *_memory(_PROC / "self"), open_descriptors())


def _memory(directory: Path) -> tuple[int, int]:
    """Bytes of virtual and of resident memory."""
    size, resident = map(int, (directory / "statm").read_text().split()[:2])
    page = resource.getpagesize()
    return size * page, resident * page


def cpu_of(pid: int) -> float:
    """Seconds of user and system CPU time; also of a process that has ended and is not reaped.

    Raises:
        OSError: there is no such process.
    """
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / os.sysconf("SC_CLK_TCK")


def open_descriptors(directory: Path | None = None) -> int:
    """The number of open descriptors of the process with this ``fd`` directory; of this one.

    The size of ``/proc/<pid>/fd`` is that number since Linux 6.2. Before, it is 0, and the
    descriptors are listed.
    """
    directory = directory or _DESCRIPTORS
    return directory.stat().st_size or len(os.listdir(directory))


class ProcessMetrics(Collector):
    """The six ``process_`` families; none if the system has no ``/proc``.

    Args:
        use: returns what is exposed as the use of this process.
    """

    def __init__(self, use: Callable[[], ProcessUse] = own_use) -> None:
        found = {family.name: family for family in ProcessCollector(registry=None).collect()}
        self._started = found.get("process_start_time_seconds")
        self._use = use

    def collect(self) -> Iterable[Metric]:
        """The families with their current values."""
        if self._started is None:
            return
        use = self._use()
        yield self._started
        yield CounterMetricFamily("process_cpu_seconds", "User and system CPU time.", use.cpu)
        for name, text, value in (
            ("virtual_memory_bytes", "Virtual memory.", use.virtual),
            ("resident_memory_bytes", "Resident memory.", use.resident),
            ("open_fds", "Open file descriptors.", use.descriptors),
            ("max_fds", "Descriptors allowed.", resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        ):
            yield GaugeMetricFamily(f"process_{name}", text, value)
