"""The envelope: phones that would forge one, binaries that write odd ones, beside ``json``."""

import json

from fastrelay.protocol.envelope import (
    InvalidFrame,
    MalformedEnvelope,
    check_frame,
    phone_prefix,
    unwrap,
    wrap,
)
from tests.support.frames import unframed
from tests.support.json_oracle import DEEP, depth, is_json, read_envelope

WORDS = (
    *(b'"conn_id":"c"', b'"frame":', b'"close_code":4401', b'"push_wake":{}', b"null", b"true"),
    *(b"false", b"NaN", b"Infinity", b"-0", b"1e5", b"1.0", b'"\\ud800"', b'"\\ud834\\udd1e"'),
    *(b'{"conn_id":"c","frame":1}', b"\\u0000", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"},{", b"]]"),
)
CONN_IDS = ("client-s1-0123abcd", 'client-"},\\{"conn_id":"-0123abcd')
PADDING = (0, 80, 126, 16_384, 32_768, 65_536)
"""Spaces behind a message: one JSON value still, and every way its frame may leave."""


def one_input(data: bytes) -> None:
    """A byte chooses who sends the rest: a phone (and how it is padded) or a binary."""
    if not data:
        return
    choice, message = data[0], data[1:]
    if choice < 128:
        a_phone_sends(message, CONN_IDS[choice % 2], PADDING[choice // 2 % len(PADDING)])
    else:
        a_binary_sends(message)


def a_phone_sends(message: bytes, conn_id: str, padding: int) -> None:
    """One JSON value is wrapped as it is; anything else is refused."""
    try:
        check_frame(message)
    except InvalidFrame:
        assert not is_json(message) or depth(message) > DEEP
        return
    if depth(message) > DEEP:
        return
    assert is_json(message)
    padded = message + b" " * padding
    check_frame(padded)
    batch = [message, padded, b"1"]
    wrapped = unframed(b"".join(wrap(phone_prefix(conn_id), batch)))
    assert wrapped == [
        b'{"conn_id":%b,"frame":%b}' % (json.dumps(conn_id).encode(), part) for part in batch
    ]
    # By their pairs, so that a second conn_id would be seen.
    fields = json.loads(wrapped[0], object_pairs_hook=list, parse_int=str)
    assert [name for name, _ in fields] == ["conn_id", "frame"]
    assert fields[0][1] == conn_id


def a_binary_sends(message: bytes) -> None:
    """What the envelope asks for is what the table says, and the frame is verbatim."""
    try:
        envelope = unwrap(message)
    except MalformedEnvelope:
        assert depth(message) > DEEP or read_envelope(message) is None
        return
    if depth(message) > DEEP:
        return
    asked = read_envelope(message)
    assert asked is not None
    assert (envelope.conn_id or None) == (asked.conn_id or None)
    assert (envelope.close_code or 0) == asked.close_code
    assert bytes(envelope.frame) == asked.frame
    if not asked.conn_id:
        assert bytes(envelope.push_wake) == asked.push_wake
