"""CPU, memory and descriptors of the process, under the standard ``process_`` names.

The library's own collector lists every open descriptor on each scrape. With 10,000 connections that
blocks the event loop for 9 ms (``bench experiments scrape``). Linux gives their number for the cost
of one ``stat``.
"""

import os
import resource
import time
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

_DESCRIPTORS = Path("/proc/self/fd")
_STATM = Path("/proc/self/statm")


def open_descriptors() -> int:
    """The number of open descriptors of this process.

    The size of ``/proc/self/fd`` is that number since Linux 6.2. Before, it is 0, and the
    descriptors are listed.
    """
    return _DESCRIPTORS.stat().st_size or len(os.listdir(_DESCRIPTORS))


class ProcessMetrics(Collector):
    """The six ``process_`` families; none if the system has no ``/proc``."""

    def __init__(self) -> None:
        found = {family.name: family for family in ProcessCollector(registry=None).collect()}
        self._started = found.get("process_start_time_seconds")

    def collect(self) -> Iterable[Metric]:
        """The families with their current values."""
        if self._started is None:
            return
        size, resident = map(int, _STATM.read_text().split()[:2])
        page = resource.getpagesize()
        yield self._started
        yield CounterMetricFamily(
            "process_cpu_seconds", "User and system CPU time.", time.process_time()
        )
        for name, text, value in (
            ("virtual_memory_bytes", "Virtual memory.", size * page),
            ("resident_memory_bytes", "Resident memory.", resident * page),
            ("open_fds", "Open file descriptors.", open_descriptors()),
            ("max_fds", "Descriptors allowed.", resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        ):
            yield GaugeMetricFamily(f"process_{name}", text, value)
