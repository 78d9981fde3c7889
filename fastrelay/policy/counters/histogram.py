"""Durations in buckets, as plain numbers that a scrape reads."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """What was observed, by upper bound; one observation costs about a microsecond at most.

    Args:
        bounds: in seconds, rising. What lies beyond the last has a bucket of its own.

    Attributes:
        counts: observations up to each bound, and beyond the last.
        total: seconds, of all.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """One more took so long; less than nothing, which clocks may say, is nothing."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += max(0.0, seconds)
