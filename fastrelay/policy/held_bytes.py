"""Bytes this process holds for phones that take them too slowly."""

from typing import Protocol


class Holder(Protocol):
    """A phone with a backlog; hashable by identity."""

    def overflow(self) -> None:
        """Give up the backlog; reports its new size with :meth:`BufferBudget.update`."""


class BufferBudget:
    """Keeps the sum of all backlogs within ``limit`` bytes: past it the largest goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[Holder, int] = {}
        self.total = 0
        """Bytes held now, over all."""

    def update(self, holder: Holder, size: int) -> None:
        """``holder`` has ``size`` bytes now; 0 forgets it. May call somebody's ``overflow``."""
        self.total += size - self._held.pop(holder, 0)
        if size:
            self._held[holder] = size
        if self.total > self._limit:
            max(self._held, key=self._held.__getitem__).overflow()
