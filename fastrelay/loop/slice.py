"""Limits the time that one kind of work may take in one iteration of the event loop."""

import time
from collections.abc import Callable


class TimeSlice:
    """The time for one kind of work, which begins again in each iteration.

    Only the time between :meth:`enter` and :meth:`leave` counts, so that other work of the same
    iteration does not use the slice up.

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
        """Make the whole slice available again."""
        self._spent = 0.0

    def enter(self) -> None:
        """Start counting time, because work of this kind begins."""
        self._entered_at = self._clock()

    def leave(self) -> None:
        """Stop counting time, because work of this kind pauses."""
        if self._entered_at is not None:
            self._spent += self._clock() - self._entered_at
            self._entered_at = None

    def left(self) -> bool:
        """Whether any of the slice is left."""
        running = 0.0 if self._entered_at is None else self._clock() - self._entered_at
        return self._spent + running < self._seconds
