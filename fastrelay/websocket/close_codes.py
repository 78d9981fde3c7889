"""Close codes and reasons the relay sends (protocol table of close codes; RFC 6455 §7.4)."""

from typing import Final, NamedTuple


class CloseReason(NamedTuple):
    """A close code with the text that travels with it. The text never echoes input."""

    code: int
    reason: str = ""


NORMAL: Final = CloseReason(1000)
SHUTTING_DOWN: Final = CloseReason(1001, "shutting down")
HEARTBEAT_TIMEOUT: Final = CloseReason(1011, "heartbeat timeout")
MESSAGE_TIMEOUT: Final = CloseReason(1011, "message timeout")
BACKLOG_FULL: Final = CloseReason(1011, "phone backlog full")
WRITE_FAILED: Final = CloseReason(1011, "phone write failed")
INVALID_JSON: Final = CloseReason(1007, "message is not valid JSON")
INVALID_UTF8: Final = CloseReason(1007, "text message is not valid UTF-8")
TOO_BIG: Final = CloseReason(1009, "message too big")
NO_SERVER: Final = CloseReason(4404, "no server with that id")
RECLAIMED: Final = CloseReason(4404, "binary reclaimed server-id")
SERVER_IN_USE: Final = CloseReason(4409, "server-id already claimed")
PHONES_AT_CAP: Final = CloseReason(4429, "too many phones for server-id")


def protocol_error(reason: str) -> CloseReason:
    """The 1002 for a violation of RFC 6455 that ``reason`` names in a few words."""
    return CloseReason(1002, reason)


def may_travel(code: int) -> bool:
    """Whether ``code`` may stand in a close frame.

    RFC 6455 §7.4.1 and §7.4.2: 1004–1006 and 1015 are reserved, 1016–2999 are unassigned,
    3000–4999 are for libraries and applications; anything else never travels.
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
