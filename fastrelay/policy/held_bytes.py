"""The budget of unsent bytes that this process holds for phones that read too slowly."""

from typing import Protocol


class Holder(Protocol):
    """A phone that has unsent bytes. It must be hashable by identity."""

    def overflow(self) -> None:
        """Drop the backlog, and report its new size with :meth:`BufferBudget.update`."""


class BufferBudget:
    """Keeps the sum of all backlogs within ``limit`` bytes by dropping the largest ones.

    Args:
        limit: bytes.

    Attributes:
        total: bytes that all holders hold now. Cached: hot path.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[Holder, int] = {}
        self.total = 0

    def update(self, holder: Holder, size: int) -> None:
        """Record that ``holder`` now has ``size`` unsent bytes; 0 removes the holder.

        If the total is over the limit after that, the holder with the largest backlog is told to
        ``overflow``. Its report calls this method again, until the total is within the limit.
        """
        self.total += size - self._held.pop(holder, 0)
        if size:
            self._held[holder] = size
        if self.total > self._limit:
            max(self._held, key=self._held.__getitem__).overflow()
