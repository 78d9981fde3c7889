"""Encodes frames from server to client: never masked, never fragmented (RFC 6455 §5.2, §5.5).

All functions return bytes ready for the socket. Data is sent in text frames only, because the
phone app closes the connection when it gets a binary frame.
"""

from enum import IntEnum
from struct import Struct
from typing import Final

from fastrelay.protocol.close_codes import NO_STATUS, CloseReason

Piece = bytes | memoryview
"""A part of one or more frames to be sent. The pieces of a frame follow one another."""

MAX_CONTROL_PAYLOAD: Final = 125
"""The most bytes of a control frame's payload (RFC 6455 §5.5)."""


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
# The 126 headers of short text frames are made once, because a lookup costs less than pack().
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


def close_frame(close: CloseReason) -> bytes:
    """A close frame with code and UTF-8 reason; 1005 gives one with an empty body."""
    if close.code == NO_STATUS:
        return control_frame(Opcode.CLOSE, b"")
    return control_frame(Opcode.CLOSE, _CODE.pack(close.code) + close.reason.encode())


def parse_close_code(payload: bytes) -> int:
    """The code at the start of a close frame's body, which has two bytes or more."""
    code: int = _CODE.unpack_from(payload)[0]
    return code
