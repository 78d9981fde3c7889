"""Measures the time of a sampled read until the kernel has accepted it for the other side."""

import time

from fastrelay.policy.counters.histogram import Histogram


class TransitTimer:
    """The time of one sampled read, until the last of its bytes has been flushed.

    It is a :class:`fastrelay.websocket.send_queue.FlushMarker`.
    """

    __slots__ = ("_histogram", "_started_at")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._started_at = time.perf_counter()

    def flushed(self) -> None:
        """Count the time since this timer was created."""
        self._histogram.observe(time.perf_counter() - self._started_at)
