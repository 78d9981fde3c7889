"""The clock and the timers of an event loop, without the loop: time moves when the test says so."""

import heapq
import itertools
from collections.abc import Callable
from typing import Any


class Handle:
    """A timer of the fake loop."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Clock and timers of an event loop; ``late`` is how late it wakes."""

    def __init__(self, now: float = 1000.1) -> None:
        self.now = now
        self.late = 0.0
        self.faults: list[dict[str, Any]] = []
        self._timers: list[tuple[float, int, Handle]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        handle = Handle(callback)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(context)

    @property
    def pending(self) -> int:
        """Timers that will call somebody."""
        return sum(not handle.cancelled for _, _, handle in self._timers)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= max(end, self.now):
            when, _, handle = heapq.heappop(self._timers)
            if when > self.now:  # it is awaited; what is due at once is not late
                self.now = when + self.late
            if not handle.cancelled:
                handle.callback()
        self.now = max(self.now, end)
