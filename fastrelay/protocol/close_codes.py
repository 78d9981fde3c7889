"""The close codes and reasons that the relay sends (protocol, close codes; RFC 6455 §7.4)."""

from typing import Final, NamedTuple

from fastrelay.protocol.cause import Cause

NO_STATUS: Final = 1005
"""Stands for a close frame without a code, and is never sent in one (RFC 6455 §7.4.1)."""


class CloseReason(NamedTuple):
    """A close code, the reason text sent with it, and its cause. The text never echoes input."""

    code: int
    reason: str
    cause: Cause

    @property
    def has_frame(self) -> bool:
        """Whether a close frame is sent; if not, TCP ends without one."""
        return self.code == NO_STATUS or is_valid_on_wire(self.code)

    @property
    def sent_code(self) -> int | None:
        """The code in its close frame; ``None`` without a frame, or for an empty one."""
        return self.code if is_valid_on_wire(self.code) else None


NO_BINARY: Final = CloseReason(1000, "", Cause.NO_BINARY)
GRACE_EXPIRED: Final = CloseReason(1000, "", Cause.GRACE_EXPIRED)
SHUTTING_DOWN: Final = CloseReason(1001, "shutting down", Cause.SHUTDOWN)
HEARTBEAT_TIMEOUT: Final = CloseReason(1011, "heartbeat timeout", Cause.HEARTBEAT_TIMEOUT)
TAKEN_OVER: Final = CloseReason(1011, "heartbeat timeout", Cause.TAKEN_OVER)
MESSAGE_TIMEOUT: Final = CloseReason(1011, "message timeout", Cause.MESSAGE_TIMEOUT)
BACKLOG_FULL: Final = CloseReason(1011, "phone backlog full", Cause.BACKLOG_FULL)
MEMORY_LIMIT: Final = CloseReason(1011, "memory limit", Cause.MEMORY_LIMIT)
WRITE_FAILED: Final = CloseReason(1011, "phone write failed", Cause.WRITE_FAILED)
INVALID_JSON: Final = CloseReason(1007, "message is not valid JSON", Cause.INVALID_PAYLOAD)
INVALID_UTF8: Final = CloseReason(1007, "text message is not valid UTF-8", Cause.INVALID_PAYLOAD)
TOO_BIG: Final = CloseReason(1009, "message too big", Cause.TOO_BIG)
USELESS_FRAMES: Final = CloseReason(1008, "too many useless frames", Cause.USELESS_FRAMES)
NO_SERVER: Final = CloseReason(4404, "no server with that id", Cause.NO_SERVER)
RECLAIMED: Final = CloseReason(4404, "binary reclaimed server-id", Cause.RECLAIMED)
SERVER_IN_USE: Final = CloseReason(4409, "server-id already claimed", Cause.SERVER_IN_USE)
TRY_AGAIN: Final = CloseReason(1013, "try again", Cause.TRY_AGAIN)
PHONES_AT_CAP: Final = CloseReason(4429, "too many phones for server-id", Cause.PHONES_AT_CAP)


def protocol_error(reason: str) -> CloseReason:
    """The 1002 for a violation of RFC 6455 that ``reason`` names in a few words."""
    return CloseReason(1002, reason, Cause.PROTOCOL_ERROR)


def requested_close(code: int) -> CloseReason:
    """A close that a binary asked for: any ``code``, without a reason text."""
    return CloseReason(code, "", Cause.DIRECTED)


def is_valid_on_wire(code: int) -> bool:
    """Whether ``code`` may be sent in a close frame.

    RFC 6455 §7.4.1 and §7.4.2: 1004–1006 and 1015 are reserved, 1016–2999 are unassigned,
    3000–4999 are for libraries and applications; no other code is sent.
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
