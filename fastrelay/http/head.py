"""The limits of a request head, which are checked before h11 parses its bytes.

h11 has no such limits. One rule of syntax is also checked here, because h11 hides the
difference. The answer does not depend on how the head was divided into reads.
"""

import re
from http import HTTPStatus
from typing import Final

MAX_REQUEST_LINE: Final = 8192
"""The most bytes of a request line, without its end."""

MAX_FIELDS: Final = 100
"""The most header fields of one request. A head within its limit of bytes could have thousands,
each of which takes h11 time."""

_HEAD_END: Final = re.compile(rb"\n\r?\n")
_FOLDED_HOST: Final = re.compile(rb"\nhost:[^\n]*\n[ \t]", re.IGNORECASE)


def empty_line(received: bytes) -> int | None:
    """The length of an empty line at the beginning of ``received``; 0 if there is none.

    Returns ``None`` while this is not known yet.
    """
    if received == b"\r":
        return None
    if received.startswith(b"\n"):
        return 1
    return 2 if received.startswith(b"\r\n") else 0


def fault_of(received: bytes, head_bytes: int) -> HTTPStatus | None:
    """The status for a head that is refused for its size, or for a folded Host; otherwise ``None``.

    h11 would unfold a Host (RFC 9112 §5.2), so that it could not be told from one without spaces.

    Args:
        received: the head as far as it has come, and perhaps what came behind it.
        head_bytes: the most bytes of a head, its empty line included.
    """
    if received[:1] <= b" ":
        return None  # no request line begins so, and h11 says so
    if _has_long_line(received, head_bytes):
        return HTTPStatus.REQUEST_URI_TOO_LONG
    end = _HEAD_END.search(received)
    if (end.end() if end else len(received)) > head_bytes:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    # A head with n fields has n + 1 lines; n of them end before the last line does.
    ended = received.count(b"\n", 0, end.start()) if end else received.count(b"\n") - 1
    if ended > MAX_FIELDS:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    # Hardly any head has a folded field, and the search for a name in any case is dear.
    if end and (b"\n " in received or b"\n\t" in received):
        return HTTPStatus.BAD_REQUEST if _FOLDED_HOST.search(received, 0, end.end()) else None
    return None


def _has_long_line(received: bytes, head_bytes: int) -> bool:
    """Whether the request line is too long, or cannot end within the limits any more."""
    end = received.find(b"\n")
    if end < 0:
        return len(received) > min(MAX_REQUEST_LINE + 1, head_bytes)
    return end >= head_bytes or len(received[:end].removesuffix(b"\r")) > MAX_REQUEST_LINE
