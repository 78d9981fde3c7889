"""Frames from server to client: never masked, never fragmented (RFC 6455 §5.2, §5.5).

Everything here returns bytes ready for the socket. Data leaves as text frames only: the phone
app closes on a binary frame.
"""

from enum import IntEnum
from struct import Struct
from typing import Final

from fastrelay.protocol.close_codes import CloseReason

Piece = bytes | memoryview
"""Bytes on their way out. Frames are given as the pieces they consist of, end to end."""

MAX_CONTROL_PAYLOAD: Final = 125
"""Bytes a control frame may carry (RFC 6455 §5.5)."""


class Opcode(IntEnum):
    """Frame opcodes (RFC 6455 §5.2); 3–7 and 11–15 are reserved."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_FIN: Final = 0x80
_FIN_TEXT: Final = _FIN | Opcode.TEXT
_HEADER_16: Final = Struct("!BBH").pack
_HEADER_64: Final = Struct("!BBQ").pack
_CODE: Final = Struct("!H")
# The 126 headers of short text frames, made once: a lookup costs a third of a pack().
_SHORT_TEXT_HEADERS: Final = tuple(bytes((_FIN_TEXT, length)) for length in range(126))


def text_header(length: int) -> bytes:
    """The header of a whole text frame with a payload of ``length`` bytes."""
    if length < 126:
        return _SHORT_TEXT_HEADERS[length]
    if length < 65536:
        return _HEADER_16(_FIN_TEXT, 126, length)
    return _HEADER_64(_FIN_TEXT, 127, length)


def control_frame(opcode: Opcode, payload: bytes) -> bytes:
    """A ping, pong or close frame; ``payload`` is at most 125 bytes."""
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a control frame carries at most {MAX_CONTROL_PAYLOAD} bytes")
    return bytes((_FIN | opcode, len(payload))) + payload


def close_frame(close: CloseReason | None) -> bytes:
    """A close frame with code and UTF-8 reason; ``None`` gives one with an empty body."""
    if close is None:
        return control_frame(Opcode.CLOSE, b"")
    return control_frame(Opcode.CLOSE, _CODE.pack(close.code) + close.reason.encode())


def parse_close_code(payload: bytes) -> int:
    """The code at the front of a close frame's body of two bytes or more."""
    code: int = _CODE.unpack_from(payload)[0]
    return code
