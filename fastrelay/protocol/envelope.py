"""The routing envelope between relay and binary (protocol, frames).

    {"conn_id": str, "frame": any JSON, "close_code": int, "push_wake": object}

A phone's message is checked to be exactly one JSON value before it is wrapped. Otherwise a phone
could end the envelope early and forge its fields. Frames are never parsed into objects and never
changed.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from fastrelay.protocol.frames import Piece, text_header

_JOIN_BELOW: Final = 32 * 1024
"""A batch of fewer bytes is always joined into one buffer."""

SMALL_FRAME: Final = 16 * 1024
"""In a larger batch, only pieces of fewer bytes are joined with their neighbours."""

_ABSENT: Final = msgspec.Raw(b"")
_encode: Final = msgspec.json.Encoder().encode
_check_syntax: Final = msgspec.json.Decoder(msgspec.Raw).decode


class InvalidFrame(ValueError):
    """A phone's message is not one UTF-8 JSON value. The text does not quote the message."""


class MalformedEnvelope(ValueError):
    """A binary's message is not an envelope. The text does not quote the message."""


class Envelope(msgspec.Struct, gc=False):
    """A binary's message, checked by :func:`unwrap`.

    Attributes:
        conn_id: the id of the addressed phone; ``None`` or empty only for a push wake.
        frame: the bytes for the phone, unchanged; empty if there are none.
        close_code: the code to close the phone with after the frame, which need not be one that may
            be sent; ``None`` or 0: do not close.
        push_wake: the wake request as JSON; empty if there is none.
    """

    conn_id: str | None = None
    frame: msgspec.Raw = _ABSENT
    close_code: int | None = None
    push_wake: msgspec.Raw = _ABSENT


_decode_envelope: Final = msgspec.json.Decoder(Envelope).decode


def check_frame(message: bytes) -> None:
    """Raise :class:`InvalidFrame` unless ``message`` is one valid UTF-8 JSON value.

    Stricter than the grammar in two points: an escaped lone surrogate, and nesting deeper than
    the interpreter's recursion limit, are refused.
    """
    try:
        # The syntax check does not examine strings, so it does not find invalid UTF-8.
        if not message.isascii():
            message.decode()
        _check_syntax(message)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise InvalidFrame("not one UTF-8 JSON value") from None


def phone_prefix(conn_id: str) -> bytes:
    """The start of every envelope of one phone; made once, at registration."""
    return b'{"conn_id":%b,"frame":' % _encode(conn_id)


def wrap(prefix: bytes, messages: list[bytes]) -> Sequence[Piece]:
    """Wrap checked messages of one phone; returns the text frames as pieces, in order."""
    overhead = len(prefix) + 1
    flat: list[bytes] = []
    for message in messages:
        flat += (text_header(len(message) + overhead), prefix, message, b"}")
    return gather(flat)


def wrap_small(prefix: bytes, message: bytes) -> bytes:
    """:func:`wrap` for one message of less than :data:`SMALL_FRAME` bytes, at half the cost."""
    return b"".join((text_header(len(prefix) + len(message) + 1), prefix, message, b"}"))


def split(messages: list[bytes], size: int) -> Iterator[list[bytes]]:
    """The same messages in parts of at most ``size`` bytes; a larger message is a part alone."""
    part: list[bytes] = []
    length = 0
    for message in messages:
        if part and length + len(message) > size:
            yield part
            part, length = [], 0
        part.append(message)
        length += len(message)
    if part:
        yield part


def gather(flat: list[bytes]) -> Sequence[Piece]:
    """The same bytes in fewer pieces: small ones are joined, large ones stay separate.

    Joining a piece costs a copy. A separate piece costs an entry in the vector of the write.
    """
    if sum(map(len, flat)) < _JOIN_BELOW:
        return (b"".join(flat),)
    pieces: list[Piece] = []
    small: list[bytes] = []
    for piece in flat:
        if len(piece) < SMALL_FRAME:
            small.append(piece)
            continue
        if small:
            pieces.append(b"".join(small))
            small.clear()
        pieces.append(memoryview(piece))
    if small:
        pieces.append(b"".join(small))
    return pieces


def close_notice(conn_id: str, code: int) -> bytes:
    """The text frame that tells a binary that one of its phones has gone."""
    body = b'{"conn_id":%b,"close_code":%d}' % (_encode(conn_id), code)
    return text_header(len(body)) + body


def unwrap(message: bytes) -> Envelope:
    """Read a binary's message.

    A field that is ``null`` counts as absent.

    Raises:
        MalformedEnvelope: the message is not an envelope, or has neither ``conn_id`` nor
            ``push_wake``, or a ``conn_id`` with neither a frame nor a close code, or a close code
            beyond 64 bits.
    """
    try:
        if not message.isascii():
            message.decode()
        envelope = _decode_envelope(message)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise MalformedEnvelope("not an envelope") from None
    if len(envelope.frame) == 4 and bytes(envelope.frame) == b"null":
        envelope.frame = _ABSENT
    if not envelope.conn_id:
        if not envelope.push_wake or bytes(envelope.push_wake) == b"null":
            raise MalformedEnvelope("no conn_id")
        return envelope
    if envelope.close_code:
        if not -(2**63) <= envelope.close_code < 2**64:
            raise MalformedEnvelope("close_code is beyond 64 bits")
    elif not envelope.frame:
        raise MalformedEnvelope("neither frame nor close_code")
    return envelope
