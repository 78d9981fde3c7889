"""Outgoing frames, close codes and the queue they wait in."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from fastrelay.protocol import close_codes
from fastrelay.protocol.cause import Cause
from fastrelay.protocol.close_codes import (
    CloseReason,
    is_valid_on_wire,
    protocol_error,
    requested_close,
)
from fastrelay.protocol.frames import (
    MAX_CONTROL_PAYLOAD,
    Opcode,
    Piece,
    close_frame,
    control_frame,
    parse_close_code,
    text_header,
)
from fastrelay.websocket.send_queue import FRAME_CHARGE, TURN_BYTES, SendQueue

# -- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, "81 00"),
        (1, "81 01"),
        (125, "81 7d"),
        (126, "81 7e 00 7e"),
        (65535, "81 7e ff ff"),
        (65536, "81 7f 00 00 00 00 00 01 00 00"),
        (1 << 32, "81 7f 00 00 00 01 00 00 00 00"),
    ],
)
def test_headers_are_those_of_the_rfc(length: int, header: str) -> None:
    """RFC 6455 §5.2: FIN and text, no mask, the shortest length form."""
    assert text_header(length) == bytes.fromhex(header)


@given(st.integers(0, 70_000) | st.sampled_from([125, 126, 127, 65535, 65536]))
def test_a_client_reads_what_was_framed(size: int) -> None:
    client = FrameProtocol(client=True, extensions=[])
    client.receive_bytes(text_header(size) + b"x" * size)
    frames = list(client.received_frames())
    assert "".join(str(frame.payload) for frame in frames) == "x" * size
    assert {int(frame.opcode) for frame in frames} == {Opcode.TEXT}
    assert [frame.message_finished for frame in frames] == [False] * (len(frames) - 1) + [True]


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.CLOSE])
@pytest.mark.parametrize("size", [0, 1, MAX_CONTROL_PAYLOAD])
def test_control_frames(opcode: Opcode, size: int) -> None:
    assert control_frame(opcode, b"p" * size) == bytes((0x80 | opcode, size)) + b"p" * size


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.CLOSE])
def test_a_control_frame_that_is_too_long_is_not_made(opcode: Opcode) -> None:
    with pytest.raises(ValueError, match="at most 125 bytes"):
        control_frame(opcode, b"p" * (MAX_CONTROL_PAYLOAD + 1))


# -- closing --------------------------------------------------------------------------------------


def every_reason() -> list[CloseReason]:
    """All the module defines."""
    return [value for value in vars(close_codes).values() if isinstance(value, CloseReason)]


def test_an_empty_close_frame() -> None:
    assert close_frame(requested_close(1005)) == b"\x88\x00"


@pytest.mark.parametrize(
    "close",
    [*every_reason(), protocol_error("reserved opcode"), CloseReason(4999, "ä€𝄞", Cause.DIRECTED)],
    ids=str,
)
def test_a_client_reads_the_close(close: CloseReason) -> None:
    client = FrameProtocol(client=True, extensions=[])
    client.receive_bytes(close_frame(close))
    (frame,) = client.received_frames()
    assert frame.opcode == Opcode.CLOSE
    assert (int(frame.payload[0]), frame.payload[1] or "") == close[:2]


@given(st.integers(0, 65535), st.binary(max_size=123))
def test_the_code_stands_at_the_front_of_the_body(code: int, reason: bytes) -> None:
    assert parse_close_code(struct.pack("!H", code) + reason) == code


def test_the_reasons_are_those_of_the_protocol() -> None:
    """The deployed phones and daemons know these, letter by letter (protocol, close codes)."""
    assert {close[:2] for close in every_reason()} >= {
        (1000, ""),
        (1001, "shutting down"),
        (1008, "too many useless frames"),
        (1011, "heartbeat timeout"),
        (1011, "phone backlog full"),
        (1011, "phone write failed"),
        (1013, "try again"),
        (4404, "no server with that id"),
        (4404, "binary reclaimed server-id"),
        (4409, "server-id already claimed"),
        (4429, "too many phones for server-id"),
    }
    assert {close.code for close in every_reason()} - {4404, 4409, 4429} == {
        *(1000, 1001, 1007, 1008, 1009, 1011, 1013),
    }
    assert protocol_error("why")[:2] == (1002, "why")


def test_the_codes_that_may_travel() -> None:
    """RFC 6455 §7.4, as ranges in the protocol's words."""
    allowed = [*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)]
    assert [code for code in range(-1, 70_000) if is_valid_on_wire(code)] == allowed


# -- the queue ------------------------------------------------------------------------------------


def test_an_empty_backlog() -> None:
    backlog = SendQueue()
    assert not backlog
    assert (backlog.charged, backlog.take_slice(100), backlog.forget()) == (0, ([], 0), 0)


def test_frames_are_charged_on_top_of_their_bytes() -> None:
    backlog = SendQueue()
    backlog.append((b"head", b"payload"), 1)
    backlog.append((b"three frames",), 3)
    assert backlog.charged == 11 + FRAME_CHARGE + 12 + 3 * FRAME_CHARGE
    backlog.append((b"notice",), 0)
    backlog.put_first(b"ping")
    backlog.put_last(b"close")
    assert backlog.charged == 23 + 4 * FRAME_CHARGE + 6 + 4 + 5
    assert backlog.forget() == 4
    assert (bool(backlog), backlog.charged) == (False, 0)


def test_a_control_frame_goes_ahead_of_everything() -> None:
    backlog = SendQueue()
    backlog.append((b"data",), 1)
    backlog.put_first(b"pong")
    assert backlog.charged == 8 + FRAME_CHARGE
    assert backlog.take_slice(1) == ([b"pong"], 0)
    assert backlog.take_slice(1) == ([b"data"], 1)


class TransitTimer:
    def __init__(self) -> None:
        self.stopped = 0

    def flushed(self) -> None:
        self.stopped += 1


def test_a_mark_is_told_when_all_before_it_has_been_taken_and_more_is_asked_for() -> None:
    backlog, stopwatch, last = SendQueue(), TransitTimer(), TransitTimer()
    backlog.append((b"before",), 1)
    backlog.add_marker(stopwatch)
    backlog.append((b"behind",), 1)
    backlog.add_marker(last)
    assert backlog.charged == 12 + 2 * FRAME_CHARGE
    assert backlog.take_slice(100) == ([b"before"], 1)
    assert stopwatch.stopped == 0
    backlog.put_first(b"ping")
    assert backlog.take_slice(100) == ([b"ping"], 0)
    assert stopwatch.stopped == 0
    assert backlog.take_slice(100) == ([b"behind"], 1)
    assert (stopwatch.stopped, last.stopped) == (1, 0)
    assert backlog
    assert backlog.take_slice(100) == ([], 0)
    assert (stopwatch.stopped, last.stopped) == (1, 1)
    assert not backlog


entries = st.lists(
    st.tuples(st.lists(st.binary(max_size=6), min_size=1, max_size=3), st.integers(0, 3))
)


@given(entries, st.lists(st.integers(1, 20), min_size=1))
def test_what_goes_in_comes_out_and_the_charge_with_it(
    entries: list[tuple[list[bytes], int]], sizes: list[int]
) -> None:
    backlog, out, frames = SendQueue(), list[Piece](), 0
    for pieces, count in entries:
        backlog.append(pieces, count)
    for size in [*sizes, 10**6]:
        taken, count = backlog.take_slice(size)
        # As much as was asked for, or all; and never a part of an entry.
        assert sum(map(len, taken)) >= size or not backlog
        out += taken
        frames += count
        left = sum(count for _, count in entries) - frames
        held = sum(len(piece) for pieces, _ in entries for piece in pieces) - sum(map(len, out))
        assert backlog.charged == held + FRAME_CHARGE * left
    assert out == [piece for pieces, _ in entries for piece in pieces]
    assert frames == sum(count for _, count in entries)


# -- the turns of owners --------------------------------------------------------------------------


class Phone:
    def __init__(self) -> None:
        self.queued = 0
        self.lost = (0, 0)

    def on_queued(self, size: int) -> None:
        self.queued = size

    def on_lost(self, frames: int, others: int) -> None:
        self.lost = frames, others


def in_turns(queue: SendQueue) -> list[bytes]:
    """All pieces, one slice for each."""
    pieces = []
    while queue:
        taken, _ = queue.take_slice(1)
        pieces += map(bytes, taken)
    return pieces


def test_who_loses_by_the_end_of_the_connection_is_told_what() -> None:
    queue, talker, gone, idle = SendQueue(), Phone(), Phone(), Phone()
    queue.append((b"one", b"two"), 2, talker)
    queue.append((b"three",), 1, talker)
    queue.append((b"last",), 1, gone)
    queue.append((b"notice",), 0, gone)
    queue.append((b"sent",), 1, idle)
    assert queue.drop(idle) == 1
    queue.add_marker(TransitTimer(), idle)
    queue.append((b"of nobody",), 1)
    assert queue.forget() == 5
    assert (talker.lost, gone.lost, idle.lost) == ((3, 0), (1, 1), (0, 0))
    assert talker.queued == gone.queued == 0


def test_a_phone_that_had_nothing_queued_comes_first() -> None:
    queue, flood, honest = SendQueue(), Phone(), Phone()
    for number in range(10):
        queue.append((b"%d" % number * TURN_BYTES,), 1, flood)
    assert queue.take_slice(1)[0] == [b"0" * TURN_BYTES]
    queue.append((b"honest",), 1, honest)
    assert honest.queued == 6 + FRAME_CHARGE
    assert queue.take_slice(1)[0] == [b"honest"]
    assert honest.queued == 0
    assert queue.take_slice(1)[0] == [b"1" * TURN_BYTES]


def test_coming_first_again_and_again_takes_nobodys_turn() -> None:
    """As soon as it has nothing queued it sends one more frame; it has half of the line."""
    queue, patient, pushing = SendQueue(), Phone(), Phone()
    for _ in range(20):
        queue.append((b"p" * TURN_BYTES,), 1, patient)
    sent = {b"p": 0, b"s": 0}
    for _ in range(20):
        if not pushing.queued:
            queue.append((b"s" * TURN_BYTES,), 1, pushing)
        (piece,), _ = queue.take_slice(1)
        sent[bytes(piece[:1])] += 1
    assert sent == {b"p": 10, b"s": 10}


@pytest.mark.parametrize("large", [TURN_BYTES, 100_000, 256 * 1024])
def test_phones_share_the_line_by_bytes_not_by_frames(large: int) -> None:
    queue, flood, honest = SendQueue(), Phone(), Phone()
    sent = {flood: 0, honest: 0}
    while sum(sent.values()) < 40 * large:
        for phone, size in ((flood, large), (honest, 1_000)):
            while phone.queued < large:
                queue.append((b"f" * size,), 1, phone)
        (piece,), _ = queue.take_slice(1)
        sent[flood if len(piece) == large else honest] += len(piece)
    assert abs(sent[flood] - sent[honest]) <= large + TURN_BYTES


def test_each_phone_keeps_its_order_and_close_frames_and_notices_their_places() -> None:
    queue, phones = SendQueue(), [Phone() for _ in range(3)]
    for number in range(4):
        for index, phone in enumerate(phones):
            queue.append((b"%d%d" % (index, number) * 10_000,), 1, phone)
    queue.append((b"notice",), 0, phones[1])
    queue.put_last(b"close")
    queue.put_first(b"ping")
    pieces = in_turns(queue)
    assert (pieces[0], pieces[-1]) == (b"ping", b"close")
    for index in range(3):
        mine = [piece[:2] for piece in pieces if piece[:1] == b"%d" % index]
        assert mine == [b"%d%d" % (index, number) for number in range(4)]
    assert pieces.index(b"notice") > pieces.index(b"13" * 10_000)
    assert [phone.queued for phone in phones] == [0, 0, 0]
    assert queue.charged == queue.owned == 0


def test_what_is_dropped_are_the_frames_of_one_phone_but_not_its_notice() -> None:
    queue, dropped, kept, marker = SendQueue(), Phone(), Phone(), TransitTimer()
    queue.append((b"d",), 2, dropped)
    queue.add_marker(marker, dropped)
    queue.append((b"notice",), 0, dropped)
    queue.append((b"k",), 1, kept)
    assert queue.drop(dropped) == 2
    assert (dropped.queued, kept.queued) == (6, 1 + FRAME_CHARGE)
    assert sorted(in_turns(queue)) == [b"k", b"notice"]
    assert marker.stopped == 1
    assert queue.drop(dropped) == queue.drop(Phone()) == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 40_000), st.integers(0, 2))))
def test_of_many_phones_nothing_is_lost_and_all_charges_come_back(
    appended: list[tuple[int, int, int]],
) -> None:
    queue, phones = SendQueue(), [Phone() for _ in range(5)]
    for index, size, take in appended:
        queue.append((bytes([index]) * size,), 1, phones[index])
        if take:
            queue.take_slice(take * 10_000)
        assert queue.owned == queue.charged == sum(phone.queued for phone in phones)
    left = queue.charged
    assert sum(len(piece) + FRAME_CHARGE for piece in in_turns(queue)) == left
    assert [phone.queued for phone in phones] == [0] * 5
