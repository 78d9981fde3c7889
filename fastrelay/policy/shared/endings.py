"""How spliced connections have ended: each of the two processes writes its cause for the other."""

import os
from collections.abc import MutableSequence, Sequence
from typing import Final

from fastrelay.protocol.cause import Aborted, Cause

PLACES: Final = 1 << 10
_CODE_BITS: Final = 8
_NUMBER_MASK: Final = (1 << 54) - 1
_CAUSES: Final = tuple(Cause)
_ERRORS: Final = 64
"""The code of the system's error 0; those of causes are smaller."""

_ABORTED: Final = (1 << _CODE_BITS) - 1


class SharedEndings:
    """Cells with the number of a handover and a code, of the last :data:`PLACES` at least.

    A process writes its cell before it closes its end of the splice, and the other one reads it
    when it has seen that end.

    Args:
        rows: for each worker :data:`PLACES` integers, which it alone writes.
        index: of this worker.
    """

    def __init__(self, rows: Sequence[MutableSequence[int]], index: int) -> None:
        self._rows = rows
        self._own = rows[index]

    def of(self, worker: int, number: int) -> "Ending":
        """The end of a connection that is spliced with ``worker``; ``number``: of its handover."""
        return Ending(self._own, self._rows[worker], number)


class Ending:
    """The causes that both processes have written for the end of one spliced connection."""

    __slots__ = ("_number", "_other", "_own")

    def __init__(self, own: MutableSequence[int], other: MutableSequence[int], number: int) -> None:
        self._own = own
        self._other = other
        self._number = number

    def ended(self, why: Exception | None) -> None:
        """The peer's connection, which this process has, ends: see ``connection_lost``."""
        if isinstance(why, Aborted):
            self._write(_CAUSES.index(why.cause) + 1)
        elif isinstance(why, OSError) and why.errno:
            self._write(_ERRORS + why.errno)

    def aborted(self) -> None:
        """This process owns the connection, and drops it."""
        self._write(_ABORTED)

    def why(self) -> Exception | None:
        """What the other process has written with :meth:`ended`."""
        code = self._code()
        if code in {0, _ABORTED}:
            return None
        if code > _ERRORS:
            return OSError(code - _ERRORS, os.strerror(code - _ERRORS))
        return Aborted(_CAUSES[code - 1])

    def is_aborted(self) -> bool:
        """Whether the other process has dropped it."""
        return self._code() == _ABORTED

    def _write(self, code: int) -> None:
        self._own[self._number % PLACES] = (self._number & _NUMBER_MASK) << _CODE_BITS | code

    def _code(self) -> int:
        cell = self._other[self._number % PLACES]
        is_of_this = cell >> _CODE_BITS == self._number & _NUMBER_MASK
        return cell & _ABORTED if is_of_this else 0
