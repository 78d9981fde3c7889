"""What hostile connections send: every frame is made before the clock starts.

A flood says who sends (a phone, a binary, or a client of plain HTTP), whether the sender has a
peer of its own at the other side of the relay, and the bytes that it repeats without end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from bench.support.wire import PING, PONG, client_frame

MESSAGE_BYTES: Final = 256 * 1024
"""The limit on one message (protocol, limits)."""

REQUESTS: Final = 100
"""Plain requests that one connection may make."""

_BLOCK: Final = 256 * 1024
_BULK: Final = 250_000
_PONGS: Final = 50_000
_FIRST_FRAGMENT: Final = b"\x01\x80\0\0\0\0"
_EMPTY_FRAGMENT: Final = b"\x00\x80\0\0\0\0"
_EDGES: Final = "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"
"""The first and the last character of each UTF-8 length, and those beside the surrogates: each is
next to an invalid sequence, and no run of equal lengths lets a decoder take a short way."""

_DEEP: Final = 900
"""Nested arrays in one value: close to what the interpreter's recursion limit lets through."""

_DIGITS: Final = 4_000
"""As many as Python converts to an integer (its limit is 4,300), in time that grows as a square."""


class Bytes(NamedTuple):
    """What a sender sends: ``first`` once, then ``again`` without end (empty: nothing more)."""

    first: bytes
    again: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """One kind of hostile connection.

    Attributes:
        what: for the list of loads.
        sender: who sends; ``plain`` sends HTTP requests without an upgrade.
        paired: a phone and a binary of the same server-id; the one that does not send reads.
        deaf: the one that does not send does not read either.
        make: the bytes to send, for the ``conn_id`` of the pair's phone (empty without a pair).
    """

    what: str
    sender: Literal["phone", "binary", "plain"]
    make: Callable[[bytes], Bytes]
    paired: bool = False
    deaf: bool = False


def _frames(*payloads: bytes, opcode: int = 1) -> Callable[[bytes], Bytes]:
    """The same frames for every connection."""
    return lambda _: Bytes(b"", _repeated(b"".join(client_frame(one, opcode) for one in payloads)))


def _addressed(envelope: bytes) -> Callable[[bytes], Bytes]:
    """An envelope in which ``%b`` stands for the conn_id of the pair's phone."""
    return lambda conn_id: Bytes(b"", _repeated(client_frame(envelope % conn_id)))


def _repeated(frame: bytes) -> bytes:
    return frame * max(1, _BLOCK // len(frame))


def _fragments(_: bytes) -> Bytes:
    return Bytes(_FIRST_FRAGMENT, _repeated(_EMPTY_FRAGMENT))


def _alternation(_: bytes) -> Bytes:
    bulk = client_frame(_text(_BULK))
    return Bytes(b"", bulk * 2 + client_frame(b"", PONG) * _PONGS)


def _half_message(_: bytes) -> Bytes:
    return Bytes(client_frame(_text(MESSAGE_BYTES))[:-1], b"")


def _requests(_: bytes) -> Bytes:
    return Bytes(b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n" * REQUESTS, b"")


def _text(size: int) -> bytes:
    """A JSON string of ``size`` bytes."""
    return b'"%b"' % (b"z" * (size - 2))


def _filled(unit: bytes, size: int) -> bytes:
    """As often as it fits, with commas between."""
    return b",".join([unit] * (size // (len(unit) + 1)))


def _phone(what: str, make: Callable[[bytes], Bytes]) -> Flood:
    return Flood(what=what, sender="phone", make=make, paired=True)


def _binary(what: str, make: Callable[[bytes], Bytes], *, paired: bool = False) -> Flood:
    return Flood(what=what, sender="binary", make=make, paired=paired)


FLOODS: Final[dict[str, Flood]] = {
    "pings": _phone("empty pings", _frames(b"", opcode=PING)),
    "bytes": _phone("messages of 1 byte, which a binary reads", _frames(b"1")),
    "fragments": _phone("empty fragments of a message that never ends", _fragments),
    "pongs": _phone("empty pongs, which no ping asked for", _frames(b"", opcode=PONG)),
    "malformed": _binary("envelopes that are no JSON", _frames(b"{")),
    "unknown": _binary(
        "frames for a conn_id that is not there",
        _frames(b'{"conn_id":"client-nowhere-00000000","frame":1}'),
    ),
    "directives": _binary(
        "the same close directive again and again",
        _addressed(b'{"conn_id":"%b","close_code":4401}'),
        paired=True,
    ),
    "utf8": _phone(
        "messages of characters at the edges of UTF-8",
        _frames(b'"%b"' % (_EDGES.encode() * (_BULK // len(_EDGES.encode())))),
    ),
    "tophone": _binary(
        "a binary's small frames for its phone, which reads",
        _addressed(b'{"conn_id":"%b","frame":1}'),
        paired=True,
    ),
    "deep": _phone(
        f"messages of arrays nested {_DEEP} deep",
        _frames(b"[%b]" % _filled(b"[" * _DEEP + b"]" * _DEEP, _BULK)),
    ),
    "digits": _binary(
        f"envelopes with a number of {_DIGITS:,} digits",
        _frames(b'{"conn_id":"x","close_code":%b}' % (b"7" * _DIGITS)),
    ),
    "large": _phone("messages of 256 KiB, which a binary reads", _frames(_text(MESSAGE_BYTES))),
    "alternation": _phone(
        f"two messages of {_BULK:,} bytes, then {_PONGS:,} pongs, again and again", _alternation
    ),
    "unread": Flood(
        what="messages of 1 byte to a binary that does not read",
        sender="phone",
        make=_frames(b"1"),
        paired=True,
        deaf=True,
    ),
    "half": _binary("a message of 256 KiB without its last byte", _half_message),
    "healthz": Flood(
        what=f"{REQUESTS} pipelined plain requests a connection, without end",
        sender="plain",
        make=_requests,
    ),
}
"""Name to flood."""
