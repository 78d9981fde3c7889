"""Counts ended WebSocket connections, each once, by side, cause and class of close code."""

from collections.abc import Mapping
from typing import Final

from fastrelay.policy.cells import PRIVATE, Cells, KeyedCells
from fastrelay.protocol.cause import Cause

_NO_CODE: Final = "none"
_CLASSES: Final = {1: "1xxx", 3: "3xxx", 4: "4xxx"}
"""The classes of the close codes that are valid on the wire (RFC 6455 §7.4), by their thousands.

The 2xxx codes are unassigned, so no close frame carries one.
"""

_ANY_CLASS: Final = tuple(_CLASSES.values())

_EITHER_SIDE: Final[dict[Cause, tuple[str, ...]]] = {
    Cause.PEER_CLOSED: (*_ANY_CLASS, _NO_CODE),
    Cause.PEER_LOST: (_NO_CODE,),
    Cause.SHUTDOWN: ("1xxx",),
    Cause.PROTOCOL_ERROR: ("1xxx",),
    Cause.INVALID_PAYLOAD: ("1xxx",),
    Cause.TOO_BIG: ("1xxx",),
    Cause.HEARTBEAT_TIMEOUT: ("1xxx",),
    Cause.MESSAGE_TIMEOUT: ("1xxx",),
    Cause.MEMORY_LIMIT: ("1xxx", _NO_CODE),
    Cause.TLS_STALLED: (_NO_CODE,),
    Cause.TLS_FAILED: (_NO_CODE,),
    Cause.USELESS_FRAMES: ("1xxx",),
    Cause.INTERNAL_ERROR: (_NO_CODE,),
}
_CODES_OF_BINARIES: Final[dict[Cause, tuple[str, ...]]] = _EITHER_SIDE | {
    Cause.WRITE_FAILED: (_NO_CODE,),
    Cause.TAKEN_OVER: ("1xxx",),
    Cause.SERVER_IN_USE: ("4xxx",),
    Cause.TRY_AGAIN: ("1xxx",),
}
_CODES_OF_PHONES: Final[dict[Cause, tuple[str, ...]]] = _EITHER_SIDE | {
    Cause.WRITE_FAILED: ("1xxx",),
    Cause.BACKLOG_FULL: ("1xxx",),
    Cause.NO_BINARY: ("1xxx",),
    Cause.GRACE_EXPIRED: ("1xxx",),
    Cause.RECLAIMED: ("4xxx",),
    Cause.NO_SERVER: ("4xxx",),
    Cause.PHONES_AT_CAP: ("4xxx",),
    Cause.DIRECTED: (*_ANY_CLASS, _NO_CODE),
}


class CloseCounts:
    """Counts the connections of one side. Each is counted when it begins to close.

    Args:
        possible: the classes of close codes that each cause can have. Their counts exist from the
            start, at 0.

    Attributes:
        cells: the counts by cause and by the class of the first close frame's code; the class is
            ``"none"`` if the connection ends without a close frame.
    """

    def __init__(self, possible: Mapping[Cause, tuple[str, ...]], cells: Cells = PRIVATE) -> None:
        self.cells = KeyedCells(
            ((cause, code) for cause in possible for code in possible[cause]), cells
        )

    def count(self, cause: Cause, code: int | None) -> None:
        """Count one connection.

        Args:
            code: the code of the close frame that began the close handshake; ``None`` if there was
                no close frame, or one without a code.
        """
        self.cells.add((cause, _NO_CODE if code is None else _CLASSES[code // 1000]))


class Closes:
    """The counts of binaries and of phones."""

    def __init__(self, cells: Cells = PRIVATE) -> None:
        self.binaries = CloseCounts(_CODES_OF_BINARIES, cells)
        self.phones = CloseCounts(_CODES_OF_PHONES, cells)
