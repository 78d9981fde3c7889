"""The envelope alone: what a phone's message may be, and what a binary may ask for."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastrelay.protocol.decoder import FrameDecoder
from fastrelay.protocol.envelope import (
    InvalidFrame,
    MalformedEnvelope,
    check_frame,
    close_notice,
    gather,
    phone_prefix,
    unwrap,
    wrap,
)
from tests.support.frames import unframed
from tests.support.json_oracle import is_json, read_envelope
from tests.support.peer import mask

CONN_ID = "client-s1-0123abcd"
LIMIT = 256 * 1024


def accepts(message: bytes) -> bool:
    """Whether a phone may send it."""
    try:
        check_frame(message)
    except InvalidFrame:
        return False
    return True


# -- a phone's message ----------------------------------------------------------------------------

VALUES = [
    *(b"null", b"true", b"false", b"0", b"-0", b"-1.5e+10", b"1e999", b"9" * 5000),
    *(b'""', b'"\\u0000"', b'"\\ud834\\udd1e"', b'"\x7f"', '"ä€𝄞\u2028\uffff"'.encode()),
    *(b"{}", b"[]", b' \t\r\n{ "a" : [ 1 , {} ] }\n ', b'{"a":1,"a":2}', b"[" * 100 + b"]" * 100),
    b'{"conn_id":"client-s1-ffffffff","close_code":4401,"push_wake":{}}',
    b'"' + b"x" * (LIMIT - 2) + b'"',
]

FORGERIES = {
    "closes the envelope early": b'{}},"conn_id":"client-s1-ffffffff"',
    "closes it and opens another": b'1},{"conn_id":"client-s1-ffffffff","frame":2',
    "a second field": b'1,"conn_id":"client-s1-ffffffff"',
    "a second line": b'{}\n{"conn_id":"client-s1-ffffffff","frame":1}',
    "two values": b"1 2",
    "two objects": b"{}{}",
    "half of two": b'"a" "b',
    "a quote left open": b'"',
    "a quote escaped at the end": b'"a\\"',
    "a bracket left open": b"[",
    "a bracket too many": b"[]]",
    "the wrong bracket": b"[}",
    "nothing": b"",
    "only space": b" \n",
    "trailing comma": b'{"a":1,}',
    "a comment": b"{}/* */",
    "trailing NUL": b"{}\0",
    "NUL": b"\0",
    "NUL in a string": b'"a\0b"',
    "newline in a string": b'"a\nb"',
    "an unknown escape": b'"\\x41"',
    "a short escape": b'"\\u12"',
    "a lone high surrogate": b'"\\ud800"',
    "a lone low surrogate": b'"\\udc00"',
    "surrogates the wrong way round": b'"\\udc00\\ud800"',
    "a high surrogate and a letter": b'"\\ud800A"',
    "a lone surrogate as a key": b'{"\\ud800":1}',
    "an encoded surrogate": b'"\xed\xa0\x80"',
    "a stray byte": b'"\xff"',
    "half a character": b'"\xe2\x82"',
    "an overlong quote": b'"\xc0\xa2',
    "beyond unicode": b'"\xf4\x90\x80\x80"',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "UTF-16 without a mark": "{}".encode("utf-16-le"),
    "a space that is none": b"\xc2\xa0{}",
    "form feed": b"\x0c1",
    "NaN": b"NaN",
    "minus infinity": b"-Infinity",
    "leading zero": b"01",
    "plus": b"+1",
    "no digits": b"-",
    "hexadecimal": b"0x1",
    "single quotes": b"'a'",
    "a bare word": b"nulll",
    "deeper than the interpreter": b"[" * 100_000 + b"]" * 100_000,
}


@pytest.mark.parametrize("message", VALUES, ids=lambda message: repr(message[:20]))
def test_a_json_value_is_wrapped_byte_for_byte(message: bytes) -> None:
    check_frame(message)
    wrapped = b"".join(wrap(phone_prefix(CONN_ID), [message]))
    assert unframed(wrapped) == [b'{"conn_id":"%b","frame":%b}' % (CONN_ID.encode(), message)]


@pytest.mark.parametrize("message", FORGERIES.values(), ids=FORGERIES)
def test_what_is_not_one_json_value_is_refused(message: bytes) -> None:
    with pytest.raises(InvalidFrame) as refusal:
        check_frame(message)
    assert str(refusal.value) == "not one UTF-8 JSON value"


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
documents = st.builds(
    lambda value, escaped: json.dumps(value, ensure_ascii=escaped).encode(errors="surrogatepass"),
    values,
    st.booleans(),
)
tokens = st.lists(
    st.sampled_from(
        [
            *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"d800", b"dc00", b" "),
            *(b"null", b"true", b"0", b"1", b"-", b".", b"e", b"E", b"+", b"\n", b"\0", b"\x1f"),
            *(b"NaN", b"\xef\xbb\xbf", b"\xe2\x82\xac", b"\xff", b'"conn_id"', b'"frame"'),
        ]
    ),
    max_size=10,
).map(b"".join)


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes] = documents) -> bytes:
    """A document with a few bytes removed, doubled or replaced."""
    document = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(document)))
        document[at : at + draw(st.integers(0, 2))] = draw(tokens | st.binary(max_size=2))
    return bytes(document)


messages = st.one_of(documents, tokens, damaged(), st.binary(max_size=12))


@given(messages)
@example(b'{"a":1e}')
@example(b'"\\ud834\\udd1e\\ud834"')
def test_agrees_with_json_on_what_is_valid(message: bytes) -> None:
    assert accepts(message) == is_json(message)


@given(messages)
@example(b'{}},"conn_id":"client-s1-ffffffff","x":{"y":{}')
def test_no_accepted_message_changes_its_envelope(message: bytes) -> None:
    if not accepts(message):
        return
    (wrapped,) = unframed(b"".join(wrap(phone_prefix(CONN_ID), [message])))
    fields = json.loads(wrapped, object_pairs_hook=list, parse_int=str)
    # By their pairs, so that a second conn_id would be seen.
    assert [name for name, _ in fields] == ["conn_id", "frame"]
    assert fields[0][1] == CONN_ID
    assert fields[1][1] == json.loads(message, object_pairs_hook=list, parse_int=str)


@given(st.text(min_size=1))
def test_any_conn_id_is_quoted(conn_id: str) -> None:
    """A server-id is part of it, and that is the peer's: printable ASCII with quotes in it."""
    (wrapped,) = unframed(b"".join(wrap(phone_prefix(conn_id), [b"1"])))
    assert json.loads(wrapped) == {"conn_id": conn_id, "frame": 1}
    (notice,) = unframed(close_notice(conn_id, 1001))
    assert json.loads(notice) == {"conn_id": conn_id, "close_code": 1001}


def test_a_close_notice_has_no_frame_key() -> None:
    (notice,) = unframed(close_notice(CONN_ID, 4001))
    assert notice == b'{"conn_id":"client-s1-0123abcd","close_code":4001}'


# -- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 125 - 41, 126 - 41, 65535 - 41, 65536 - 41, LIMIT])
def test_a_batch_is_its_messages_in_order(size: int) -> None:
    batch = [b"7" * size, b"1", b'"%b"' % (b"x" * 20_000), b"2"]
    prefix = phone_prefix(CONN_ID)
    received = unframed(b"".join(wrap(prefix, batch)))
    assert received == [prefix + message + b"}" for message in batch]


@given(st.lists(st.sampled_from([0, 1, 100, 16_383, 16_384, 16_385, 40_000]), max_size=12))
def test_gathering_keeps_the_bytes(sizes: list[int]) -> None:
    flat = [bytes([65 + i]) * size for i, size in enumerate(sizes)]
    assert b"".join(gather(flat)) == b"".join(flat)


def test_small_frames_leave_as_one_piece_and_large_ones_are_not_copied() -> None:
    assert len(gather([b"x" * 100] * 300)) == 1
    large = b"y" * 200_000
    pieces = gather([b"head", large, b"tail", b"head", large])
    assert [len(piece) for piece in pieces] == [4, 200_000, 8, 200_000]
    assert [piece.obj is large for piece in pieces if isinstance(piece, memoryview)] == [True] * 2


# -- a binary's message ---------------------------------------------------------------------------


def test_a_frame_is_handed_on_as_it_was_written() -> None:
    envelope = unwrap(b'\n{"x":[{"conn_id":"no"}],"frame" :\t{ "a" : 1.50e0 } ,"conn_id":"c"} ')
    assert (envelope.conn_id, bytes(envelope.frame)) == ("c", b'{ "a" : 1.50e0 }')
    assert not envelope.close_code
    assert not envelope.push_wake


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4401, 4999])
@pytest.mark.parametrize("frame", [b"", b',"frame":"bye"', b',"frame":null'])
def test_a_directive_with_and_without_a_frame(code: int, frame: bytes) -> None:
    envelope = unwrap(b'{"conn_id":"c","close_code":%d%b}' % (code, frame))
    assert envelope.close_code == code
    assert bytes(envelope.frame) == (b'"bye"' if b"bye" in frame else b"")


@pytest.mark.parametrize("conn_id", [b"", b'"conn_id":"",', b'"conn_id":null,'])
def test_a_wake_needs_no_conn_id(conn_id: bytes) -> None:
    envelope = unwrap(b'{%b"push_wake":{"platform":"fcm","token":"t"}}' % conn_id)
    assert not envelope.conn_id
    assert bytes(envelope.push_wake) == b'{"platform":"fcm","token":"t"}'


@pytest.mark.parametrize("nothing", [b"null", b" null "])
def test_null_is_as_good_as_absent(nothing: bytes) -> None:
    envelope = unwrap(b'{"conn_id":"c","frame":1,"close_code":%b,"push_wake":null}' % nothing)
    assert not envelope.close_code
    for fields in (b'"conn_id":"c","frame":%b', b'"push_wake":%b', b'"conn_id":%b,"frame":1'):
        with pytest.raises(MalformedEnvelope):
            unwrap(b"{%b}" % fields % nothing)


def test_the_last_of_two_fields_counts() -> None:
    """As in the Go relay; either would do, as a binary only reaches its own phones."""
    envelope = unwrap(b'{"conn_id":"a","frame":1,"frame":2,"conn_id":"b"}')
    assert (envelope.conn_id, bytes(envelope.frame)) == ("b", b"2")


MALFORMED = {
    "nothing": b"",
    "not JSON": b"{",
    "trailing data": b'{"conn_id":"c","frame":1}{}',
    "an array": b'["c",1]',
    "a string": b'"c"',
    "null": b"null",
    "no conn_id": b'{"frame":1}',
    "other case": b'{"Conn_ID":"c","frame":1}',
    "empty conn_id": b'{"conn_id":"","frame":1}',
    "conn_id a number": b'{"conn_id":7,"frame":1}',
    "conn_id a lone surrogate": b'{"conn_id":"\\ud800","frame":1}',
    "nothing to do": b'{"conn_id":"c"}',
    "a wake for a phone": b'{"conn_id":"c","push_wake":{"platform":"fcm","token":"t"}}',
    "frame null": b'{"conn_id":"c","frame": null }',
    "frame not JSON": b'{"conn_id":"c","frame":NaN}',
    "frame invalid UTF-8": b'{"conn_id":"c","frame":"\xff"}',
    "unknown field invalid UTF-8": b'{"conn_id":"c","frame":1,"x":"\xff"}',
    "frame a lone surrogate": b'{"conn_id":"c","frame":"\\udc00"}',
    "frame with NUL": b'{"conn_id":"c","frame":"\0"}',
    "frame too deep": b'{"conn_id":"c","frame":%b}' % (b"[" * 50_000 + b"]" * 50_000),
    "unknown field too deep": b'{"conn_id":"c","frame":1,"x":%b}' % (b"[" * 50_000 + b"]" * 50_000),
    "close_code 0": b'{"conn_id":"c","close_code":0}',
    "close_code text": b'{"conn_id":"c","close_code":"4401"}',
    "close_code a fraction": b'{"conn_id":"c","close_code":4401.5}',
    "close_code with a point": b'{"conn_id":"c","close_code":4401.0}',
    "close_code true": b'{"conn_id":"c","close_code":true}',
    **{
        f"close_code {code}": b'{"conn_id":"c","close_code":%d,"frame":1}' % code
        for code in (-(2**63) - 1, 2**64, 10**30)
    },
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_malformed_envelopes(message: bytes) -> None:
    with pytest.raises(MalformedEnvelope) as refusal:
        unwrap(message)
    assert str(refusal.value) in {
        "not an envelope",
        "no conn_id",
        "neither frame nor close_code",
        "close_code is beyond 64 bits",
    }


@pytest.mark.parametrize(
    "code", [-(2**63), -4401, 1, 999, 1004, 1005, 1006, 1015, 2999, 5000, 69937, 2**64 - 1]
)
def test_a_code_that_may_not_travel_is_a_directive_all_the_same(code: int) -> None:
    assert unwrap(b'{"conn_id":"c","close_code":%d}' % code).close_code == code


fields = st.fixed_dictionaries(
    {},
    optional={
        "conn_id": st.none() | st.just("") | st.text(max_size=5) | st.integers(),
        "frame": values,
        "close_code": st.none()
        | st.sampled_from([0, 999, 1000, 1005, 4401, 5000])
        | st.integers()
        | st.text(max_size=2),
        "push_wake": st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
        "other": values,
    },
)
envelopes = st.builds(
    lambda asked, ascii_only: json.dumps(
        asked, ensure_ascii=ascii_only, separators=(" ,", ": ")
    ).encode(errors="surrogatepass"),
    fields,
    st.booleans(),
)


framed = messages.map(lambda message: b'{"conn_id":"c","frame":' + message + b"}")


@given(st.one_of(envelopes, damaged(envelopes), messages, framed))
@example(b'{"conn_id":7,"conn_id":"c","frame":1}')
def test_unwrap_agrees_with_the_table_and_with_json(message: bytes) -> None:
    asked = read_envelope(message)
    if asked is None:
        with pytest.raises(MalformedEnvelope):
            unwrap(message)
        return
    envelope = unwrap(message)
    assert (envelope.conn_id or None) == (asked.conn_id or None)
    assert (envelope.close_code or 0) == asked.close_code
    assert bytes(envelope.frame) == asked.frame


def test_wrapped_then_masked_it_is_a_frame_any_receiver_takes() -> None:
    """The header written is the header our own decoder asks for."""
    decoder = FrameDecoder(memoryview(bytearray(4096)), LIMIT * 2)
    for size in (1, 60, 90, 70_000):
        (payload,) = unframed(sent := b"".join(wrap(phone_prefix(CONN_ID), [b"1" * size])))
        head = bytearray(sent[: len(sent) - len(payload)])
        head[1] |= 0x80
        assert decoder.feed(bytes(head) + b"key!" + mask(payload, b"key!")) == [payload]
