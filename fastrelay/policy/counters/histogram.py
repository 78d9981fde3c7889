"""A histogram of durations as plain numbers."""

from bisect import bisect_left
from collections.abc import Sequence

from fastrelay.policy.cells import PRIVATE, Cells


class Histogram:
    """Observations counted in buckets. One observation costs at most about a microsecond.

    Args:
        bounds: the inclusive upper bounds of the buckets in seconds, rising. Observations above the
            last bound have a bucket of their own.

    Attributes:
        counts: the observations in each bucket (not cumulative); one more than there are bounds.
    """

    __slots__ = ("_total", "bounds", "counts")

    def __init__(self, bounds: Sequence[float], cells: Cells = PRIVATE) -> None:
        self.bounds = tuple(bounds)
        self.counts = cells.integers(len(self.bounds) + 1)
        self._total = cells.floats(1)

    @property
    def total(self) -> float:
        """The sum of all observations in seconds."""
        return self._total[0]

    def observe(self, seconds: float) -> None:
        """Count one observation. A negative one, which a clock may produce, adds 0 to the total."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self._total[0] += max(0.0, seconds)
