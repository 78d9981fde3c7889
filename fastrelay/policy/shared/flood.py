"""The log's flood limit, over all workers."""

from collections.abc import MutableSequence, Sequence
from typing import Final

from fastrelay.policy.ownership import KeyedHash

PLACES: Final = 1 << 10
_MASK: Final = PLACES - 1
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
        number = self._keyed.of(event)
        places = {number & _MASK, (number >> 32) & _MASK}
        current = int(now / self._interval) << _COUNT_BITS
        written = {
            place: sum(
                [row[place] - current for row in self._rows if row[place] >> 8 == current >> 8]
            )
            for place in places
        }
        if min(written.values()) >= self._most:
            return False
        for place in places:
            own = self._own[place]
            counted = own - current if own >> _COUNT_BITS == current >> _COUNT_BITS else 0
            if counted < self._most:
                self._own[place] = current + counted + 1
        return True
