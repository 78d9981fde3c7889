"""Times a sampled read on its way to the other side."""

import time

from fastrelay.policy.counters.histogram import Histogram


class Stopwatch:
    """The time of one sampled read; :meth:`stop` when the last of its bytes has left."""

    __slots__ = ("_histogram", "_started")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Count the time since this was made."""
        self._histogram.observe(time.perf_counter() - self._started)
