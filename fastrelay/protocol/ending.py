"""Why a connection ended: its cause and code, and the words of the log (protocol, log events).

The first reason counts. The peer's answer to a close frame does not change it.
"""

from typing import Final, NamedTuple

from fastrelay.protocol.cause import Aborted, Cause
from fastrelay.protocol.close_codes import NO_STATUS, CloseReason

_GOING_AWAY: Final = 1001

_WORDS: Final = {
    Cause.DIRECTED: "its binary asked for it",
    Cause.GRACE_EXPIRED: "the grace period of its binary is over",
    Cause.INTERNAL_ERROR: "internal error",
    Cause.MEMORY_LIMIT: "memory limit",
    Cause.NO_BINARY: "its binary is gone",
    Cause.SHUTDOWN: "shutting down",
    Cause.TAKEN_OVER: "taken over by another binary",
    Cause.TLS_FAILED: "TLS failed",
    Cause.TLS_STALLED: "TLS message timeout",
    Cause.WRITE_FAILED: "write stalled",
}
"""The words of the log for ends whose close reason is empty, missing or incomplete."""


class Ending(NamedTuple):
    """How a connection ended.

    Attributes:
        code: that of the first close frame, whichever side sent it; ``None`` if there was none, or
            one without a code.
        text: who ended the connection and why; it quotes nothing that the peer sent.
    """

    cause: Cause
    code: int | None
    text: str

    @property
    def notice_code(self) -> int:
        """The code of a phone's close notice."""
        if self.cause is not Cause.PEER_CLOSED:
            return _GOING_AWAY
        return NO_STATUS if self.code is None else self.code


def closed_by_peer(code: int | None) -> Ending:
    """The peer has sent the first close frame."""
    how = "without a code" if code is None else f"with {code}"
    return Ending(Cause.PEER_CLOSED, code, f"closed by peer {how}")


def closed_by_relay(close: CloseReason) -> Ending:
    """The relay begins the closing handshake, or ends TCP where the code may not be sent."""
    how = "closed" if close.has_frame else "dropped"
    why = _WORDS.get(close.cause, close.reason)
    return Ending(close.cause, close.sent_code, f"{how} by relay: {why} ({close.code})")


def dropped(cause: Cause) -> Ending:
    """The relay drops the socket without a close frame, or the peer has ended TCP without one."""
    if cause is Cause.PEER_LOST:
        return Ending(cause, None, "closed by peer without a close frame")
    return Ending(cause, None, f"dropped by relay: {_WORDS[cause]}")


def lost(exc: Exception | None) -> Ending:
    """The transport has ended; ``exc`` is the argument of its ``connection_lost``."""
    if isinstance(exc, Aborted):
        return dropped(exc.cause)
    if isinstance(exc, OSError):
        return Ending(Cause.PEER_LOST, None, exc.strerror or type(exc).__name__)
    return dropped(Cause.PEER_LOST if exc is None else Cause.INTERNAL_ERROR)
