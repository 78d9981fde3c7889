"""The process's own families with 10,000 descriptors open, against the library's collector.

Found (microseconds a scrape of them): 170 as shipped, 9,000 by the library, which lists them all.
"""

import os
from contextlib import ExitStack

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from bench.experiments.parts import nanoseconds, table
from fastrelay.metrics.process import ProcessMetrics

_OPEN = 10_000


def main() -> None:
    """Print what collecting costs, once."""
    with ExitStack() as stack:
        for _ in range(_OPEN):
            stack.callback(os.close, os.dup(0))
        collectors = {
            "as shipped": ProcessMetrics(),
            "the library's": ProcessCollector(registry=None),
        }
        table({name: _scrape(collector) / 1e3 for name, collector in collectors.items()}, "µs")


def _scrape(collector: Collector) -> float:
    registry = CollectorRegistry()
    registry.register(collector)
    return nanoseconds(lambda: generate_latest(registry))
