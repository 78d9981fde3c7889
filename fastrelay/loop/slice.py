"""How long one kind of work may take in one iteration of the event loop."""


class TimeSlice:
    """Time that is spent by the clock, and given anew in each iteration.

    The caller measures its own work, so that other work of the same iteration takes nothing away
    from this.

    Args:
        seconds: the length of the slice.
    """

    __slots__ = ("_seconds", "_spent")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._spent = 0.0

    def begin_iteration(self) -> None:
        """Give the whole slice again."""
        self._spent = 0.0

    def spend(self, seconds: float) -> None:
        """Work of this kind has taken ``seconds``."""
        self._spent += seconds

    def left(self, running: float = 0.0) -> bool:
        """Whether any of the slice is left, beside the ``running`` seconds not yet spent."""
        return self._spent + running < self._seconds
