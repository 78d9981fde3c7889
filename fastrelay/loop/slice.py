"""How long one kind of work may take in one iteration of the event loop."""

import time
from collections.abc import Callable


class TimeSlice:
    """Time that is spent by the clock, and given anew in each iteration.

    Only the time between :meth:`enter` and :meth:`leave` counts, so that other work of the same
    iteration takes nothing away from this.

    Args:
        seconds: the length of the slice.
        clock: returns monotonic seconds.
    """

    __slots__ = ("_clock", "_entered_at", "_seconds", "_spent")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._seconds = seconds
        self._clock = clock
        self._spent = 0.0
        self._entered_at: float | None = None

    def begin_iteration(self) -> None:
        """Give the whole slice again."""
        self._spent = 0.0

    def enter(self) -> None:
        """Work of this kind begins."""
        self._entered_at = self._clock()

    def leave(self) -> None:
        """Work of this kind pauses."""
        if self._entered_at is not None:
            self._spent += self._clock() - self._entered_at
            self._entered_at = None

    def left(self) -> bool:
        """Whether any of the slice is left."""
        running = 0.0 if self._entered_at is None else self._clock() - self._entered_at
        return self._spent + running < self._seconds
