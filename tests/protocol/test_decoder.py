"""The frame codec alone: every rule of RFC 6455 §5, every split, and wsproto's opinion."""

import struct
import sys
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastrelay.protocol.decoder import Closed, FrameDecoder, Ping, Pong
from fastrelay.protocol.masking import unmask
from tests.support.frame_oracle import LIMIT, Oracle, Receiver, assert_they_agree
from tests.support.peer import BINARY, CLOSE, PING, PONG, TEXT, client_frame, close_payload, mask

CONTINUATION = 0


def decode(data: bytes) -> Receiver:
    return Receiver().feed(data)


# -- whole frames ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, LIMIT])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_every_length_form_at_its_boundaries(size: int, opcode: int) -> None:
    payload = bytes(i % 128 for i in range(size))
    received = decode(client_frame(payload, opcode))
    assert received.messages == [payload]
    assert not received.controls
    assert not received.decoder.unfinished


@pytest.mark.parametrize("size", [0, 1, 125, 126, 300])
def test_every_split_of_two_frames(size: int) -> None:
    stream = client_frame(b"a" * size) + client_frame(b"b" * size, BINARY)
    for cut in range(len(stream) + 1):
        received = decode(stream[:cut]).feed(stream[cut:])
        assert received.messages == [b"a" * size, b"b" * size], cut
        assert not received.decoder.unfinished


def test_the_beginning_of_a_long_frame_is_no_short_one() -> None:
    """A length of 127 says that eight bytes of length follow, also where 127 bytes are there."""
    stream = client_frame(b"a" * 65_793, key=b"aaaa")
    for cut in range(300):
        received = decode(stream[:cut]).feed(stream[cut:])
        assert received.messages == [b"a" * 65_793], cut


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 4095, 4096, 4097])
def test_frames_in_equal_chunks(chunk: int) -> None:
    stream = b"".join(client_frame(b"%d" % size * size) for size in (0, 1, 200, 9000, 3))
    received = Receiver()
    for begin in range(0, len(stream), chunk):
        received.feed(stream[begin : begin + chunk])
    assert received.messages == [b"%d" % size * size for size in (0, 1, 200, 9000, 3)]


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_unmasking_is_xor(payload: bytes, key: bytes) -> None:
    assert unmask(memoryview(payload), memoryview(key)) == mask(payload, key)


# -- fragments and control frames ---------------------------------------------------------------


def test_fragments_are_assembled_with_control_frames_between() -> None:
    received = decode(
        client_frame(b"one ", fin=False)
        + client_frame(b"p", PING)
        + client_frame(b"", CONTINUATION, fin=False)
        + client_frame(b"q", PONG)
        + client_frame(b"two", CONTINUATION)
        + client_frame(b"three")
    )
    assert received.messages == [b"one two", b"three"]
    assert received.controls == [Ping(b"p"), Pong(b"q")]


def test_utf8_may_be_split_between_fragments() -> None:
    text = "ä€𝄞".encode()
    for cut in range(len(text) + 1):
        stream = client_frame(text[:cut], fin=False) + client_frame(text[cut:], CONTINUATION)
        assert decode(stream).messages == [text]


def test_a_text_message_fails_with_the_fragment_that_makes_it_impossible() -> None:
    begun = Receiver().feed(client_frame("ä€".encode() + b"\xed", fin=False))
    assert begun.controls == []
    assert begun.feed(client_frame(b"", CONTINUATION, fin=False)).controls == []
    assert begun.feed(client_frame(b"\xa0", CONTINUATION, fin=False)).close_code == 1007
    assert begun.feed(client_frame(b"", CONTINUATION)).messages == []


def test_what_a_message_has_cut_is_nothing_to_the_next() -> None:
    binary = client_frame(b"\xe2\x82", BINARY, fin=False) + client_frame(b"", CONTINUATION)
    text = client_frame(b"", fin=False) + client_frame(b"x", CONTINUATION)
    assert decode(binary + text + binary).messages == [b"\xe2\x82", b"x", b"\xe2\x82"]


def test_the_limit_is_on_the_assembled_message() -> None:
    half = b"x" * (LIMIT // 2)
    fits = client_frame(half, fin=False) + client_frame(half, CONTINUATION)
    assert len(decode(fits).messages[0]) == LIMIT
    more = client_frame(half, fin=False) + client_frame(half + b"y", CONTINUATION)
    assert decode(more).close_code == 1009
    small = client_frame(b"z", CONTINUATION)
    assert (
        decode(
            fits[: -len(client_frame(half))] + client_frame(half, 0, fin=False) + small
        ).close_code
        == 1009
    )


def test_a_length_over_the_limit_is_refused_from_its_header() -> None:
    header = client_frame(b"x" * (LIMIT + 1))[:10]
    assert decode(header).close_code == 1009
    begun = client_frame(b"x" * 10, fin=False)
    assert decode(begun + client_frame(b"x" * (LIMIT - 10), CONTINUATION)[:10]).controls == []
    assert decode(begun + client_frame(b"x" * (LIMIT - 9), CONTINUATION)[:10]).close_code == 1009


def test_a_message_is_unfinished_until_its_last_byte() -> None:
    stream = client_frame(b"one", fin=False) + client_frame(b"two", CONTINUATION)
    received = Receiver()
    for byte in stream[:-1]:
        assert received.feed(bytes([byte])).decoder.unfinished
    assert not received.feed(stream[-1:]).decoder.unfinished


def test_a_violation_inside_a_message_finishes_it() -> None:
    for violation in (client_frame(b"", 3), client_frame(b"", CLOSE), client_frame(b"y")):
        received = decode(client_frame(b"x", fin=False) + violation + b"\x81")
        assert (received.messages, len(received.controls)) == ([], 1)
        assert not received.decoder.unfinished


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1014, 3000, 4999])
def test_close_codes_that_may_travel(code: int) -> None:
    assert decode(client_frame(close_payload(code, "why"), CLOSE)).controls == [Closed(code)]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_close_codes_that_may_not_travel(code: int) -> None:
    assert decode(client_frame(close_payload(code), CLOSE)).close_code == 1002


def test_a_close_frame_may_be_empty() -> None:
    assert decode(client_frame(b"", CLOSE)).controls == [Closed(None)]


def test_nothing_is_read_behind_the_end() -> None:
    received = decode(client_frame(b"", CLOSE) + client_frame(b"late") + b"\xff" * 50)
    received.feed(client_frame(b"later"))
    assert (received.messages, received.controls) == ([], [Closed(None)])
    broken = decode(client_frame(b"fine") + client_frame(b"x", rsv=0x40) + client_frame(b"late"))
    broken.feed(client_frame(b"later"))
    assert broken.messages == [b"fine"]
    assert len(broken.controls) == 1


VIOLATIONS = {
    "unmasked": (client_frame(b"x", masked=False), 1002),
    "unmasked control": (client_frame(b"", PING, masked=False), 1002),
    **{f"rsv {bit:x}": (client_frame(b"x", rsv=bit), 1002) for bit in (0x40, 0x20, 0x10)},
    **{f"opcode {op}": (client_frame(b"", op), 1002) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "fragmented ping": (client_frame(b"", PING, fin=False), 1002),
    "fragmented close": (client_frame(b"", CLOSE, fin=False), 1002),
    "long ping": (client_frame(b"x" * 126, PING), 1002),
    "nothing to continue": (client_frame(b"x", CONTINUATION), 1002),
    "nothing to continue, more to come": (client_frame(b"x", CONTINUATION, fin=False), 1002),
    "message in a message": (client_frame(b"x", fin=False) + client_frame(b"y"), 1002),
    "close of one byte": (client_frame(b"\x03", CLOSE), 1002),
    "close reason not utf-8": (client_frame(close_payload(1000) + b"\xff", CLOSE), 1007),
    "16-bit length of 125": (b"\x81\xfe\x00\x7d" + b"k" * 129, 1002),
    "64-bit length of 65535": (b"\x81\xff" + (65535).to_bytes(8) + b"k" * 8, 1002),
    "64-bit length with its top bit": (b"\x81\xff" + (1 << 63).to_bytes(8) + b"k" * 8, 1002),
    "text not utf-8": (client_frame(b"\xff"), 1007),
    "text cut in a character": (client_frame("€".encode()[:2]), 1007),
    "text with a surrogate": (client_frame(b"\xed\xa0\x80"), 1007),
    "text beyond unicode": (client_frame(b"\xf4\x90\x80\x80"), 1007),
    "overlong text": (client_frame(b"\xc0\xaf"), 1007),
    "fragmented text not utf-8": (
        client_frame(b"\xe2\x82", fin=False) + client_frame(b"x", CONTINUATION),
        1007,
    ),
}


@pytest.mark.parametrize(("stream", "code"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_violations(stream: bytes, code: int) -> None:
    received = decode(client_frame(b"before") + stream)
    assert (received.messages, received.close_code) == ([b"before"], code)
    bytewise = Receiver()
    for byte in client_frame(b"before") + stream:
        bytewise.feed(bytes([byte]))
    assert (bytewise.messages, bytewise.controls) == (received.messages, received.controls)


def test_binary_need_not_be_utf8() -> None:
    assert decode(client_frame(b"\xff", BINARY)).messages == [b"\xff"]
    fragments = client_frame(b"\xff", BINARY, fin=False) + client_frame(b"\xfe", CONTINUATION)
    assert decode(fragments).messages == [b"\xff\xfe"]


# -- memory --------------------------------------------------------------------------------------


def held(decoder: FrameDecoder) -> int:
    """Bytes of memory of a decoder's own."""
    return sum(
        sys.getsizeof(part) for part in (decoder._partial, decoder._fragments) if part is not None
    )


def test_an_idle_decoder_holds_no_buffer() -> None:
    shared = memoryview(bytearray(4096))
    decoder = FrameDecoder(shared, LIMIT)
    assert decoder.get_buffer() is shared
    decoder.feed(client_frame(b"x" * 10_000))
    assert decoder.get_buffer() is shared
    assert not held(decoder)


def test_memory_grows_with_what_came_not_with_what_was_announced() -> None:
    received = Receiver(limit=64 * 1024 * 1024, shared=512)
    stream = client_frame(b"x" * 1_000_000)
    sizes = set()
    for begin in range(0, len(stream), 500):
        received.feed(stream[begin : begin + 500])
        came = begin + 500
        if received.decoder.unfinished:
            sizes.add(held(received.decoder))
            assert max(sizes) <= 2 * came + 4096
    assert len(sizes) < 200  # of 2000: few copies, however slowly it comes
    assert received.messages == [b"x" * 1_000_000]
    assert not held(received.decoder)


# -- wsproto's opinion ---------------------------------------------------------------------------

frames = st.builds(
    client_frame,
    st.one_of(
        st.binary(max_size=20),
        st.text(max_size=12).map(str.encode),
        st.integers(120, 400).map(lambda size: b"y" * size),
        st.integers(0, 65535).map(close_payload),
    ),
    st.sampled_from([TEXT, TEXT, BINARY, CONTINUATION, CONTINUATION, PING, PONG, CLOSE, 3, 11]),
    fin=st.sampled_from([True, True, False]),
    rsv=st.sampled_from([0, 0, 0, 0, 0, 0, 0, 0x40, 0x10]),
    masked=st.sampled_from([True] * 15 + [False]),
    key=st.binary(min_size=4, max_size=4),
)
streams = st.lists(frames, max_size=8).map(b"".join)
damaged = st.tuples(streams, st.integers(0, 2**16), st.integers(0, 255)).map(
    lambda given: damage(*given)
)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """``stream``, cut at these places."""
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(edges)]


def damage(stream: bytes, where: int, byte: int) -> bytes:
    """``stream`` with one byte replaced."""
    if not stream:
        return stream
    at = where % len(stream)
    return stream[:at] + bytes([byte]) + stream[at + 1 :]


@settings(max_examples=400)
@given(st.one_of(streams, damaged), st.lists(st.integers(0, 2000), max_size=6))
@example(client_frame(b"\xe2", fin=False), [])
def test_agrees_with_wsproto(stream: bytes, cuts: list[int]) -> None:
    ours, theirs = Receiver(), Oracle()
    for piece in pieces(stream, cuts):
        ours.feed(piece)
        theirs.feed(piece)
    assert_they_agree(ours, theirs)


@settings(max_examples=200)
@given(streams, st.lists(st.integers(0, 2000), max_size=6))
def test_splitting_changes_nothing(stream: bytes, cuts: list[int]) -> None:
    whole, split = decode(stream), Receiver()
    for piece in pieces(stream, cuts):
        split.feed(piece)
    assert (split.messages, split.controls) == (whole.messages, whole.controls)


def test_the_masking_key_may_hold_anything() -> None:
    for key in (b"\0\0\0\0", b"\xff\xff\xff\xff", struct.pack("!I", 0x81FE0001)):
        assert decode(client_frame(b"payload", key=key)).messages == [b"payload"]
