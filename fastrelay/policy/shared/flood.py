"""The flood limit of the log, for all workers together."""

from collections.abc import MutableSequence, Sequence
from typing import Final

from fastrelay.policy.ownership import KeyedHash

PLACES: Final = 1 << 10
_COUNT_BITS: Final = 8


class SharedFlood:
    """How many lines of an event the workers have written in the current interval.

    Args:
        rows: for each worker :data:`PLACES` integers: the number of an interval, and how many lines
            were written in it. Only row ``index`` is written here.
        interval: seconds; intervals begin at its multiples.
        most: lines of one event in an interval.
    """

    def __init__(
        self,
        rows: Sequence[MutableSequence[int]],
        index: int,
        keyed: KeyedHash,
        interval: float,
        most: int,
    ) -> None:
        self._rows = rows
        self._own = rows[index]
        self._keyed = keyed
        self._interval = interval
        self._most = most

    def __call__(self, event: str, now: float) -> bool:
        """Whether one more line of the event may be written at ``now``; if so, count it."""
        if not self._interval:
            return True
        places = self._keyed.places(event, PLACES)
        interval = int(now / self._interval)
        written = [sum([_written(row[place], interval) for row in self._rows]) for place in places]
        if min(written) >= self._most:
            return False
        for place in places:
            counted = _written(self._own[place], interval)
            if counted < self._most:
                self._own[place] = (interval << _COUNT_BITS) + counted + 1
        return True


def _written(cell: int, interval: int) -> int:
    """The lines that a cell counts in the interval with this number."""
    return cell - (interval << _COUNT_BITS) if cell >> _COUNT_BITS == interval else 0
