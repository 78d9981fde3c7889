"""A connection's deadlines on a clock of the test's own, over a transport that takes what it may.

Over real sockets, and in milliseconds, the same is seen in ``test_liveness.py``; here is seen which
second is the last one, and what a peer that is not being read may still do.
"""

import asyncio
from typing import Any, cast

import pytest

from fastrelay.config.settings import Intervals
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.policy.caps import LiveConnections
from fastrelay.policy.held_bytes import HeldBytes
from fastrelay.protocol.close_codes import NO_SERVER, WRITE_FAILED
from fastrelay.protocol.ending import Ending
from fastrelay.websocket.connection import Connection
from fastrelay.websocket.context import ConnectionContext
from tests.support.clock import Loop
from tests.support.peer import CLOSE, PONG, client_frame, close_payload

TICK = 0.25
FRAME = b"\x81\x01x"
PING = b"\x89\x00"


class Transport:
    """As much of a transport as a connection uses; the kernel takes ``room`` bytes more."""

    def __init__(self) -> None:
        self.room = 10**9
        self.taken = bytearray()
        self.waiting = bytearray()
        self.high = 65536
        self.reading = True
        self.state = "open"
        self._protocol: Any = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def get_extra_info(self, name: str) -> None:
        """A plain transport knows nothing of what TLS holds back."""

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def write(self, data: bytes) -> None:
        was = len(self.waiting)
        self.waiting += data
        self._flush()
        if was <= self.high < len(self.waiting):
            self._protocol.pause_writing()

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def take(self, room: int) -> None:
        """The peer reads on."""
        self.room += room
        self._flush()
        if not self.waiting:
            self._protocol.resume_writing()

    def _flush(self) -> None:
        count = min(self.room, len(self.waiting))
        self.taken += self.waiting[:count]
        del self.waiting[:count]
        self.room -= count

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write_eof(self) -> None:
        self.state = "half"

    def close(self) -> None:
        self.state = "closing"

    def abort(self) -> None:
        self.state = "aborted"


class Handler:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.closed = self.stalls = 0
        self.ends: list[str] = []
        self.unsent: list[int] = []

    server_id = "s1"

    def on_messages(self, messages: list[bytes]) -> None: ...
    def on_ignored(self, count: int) -> None: ...
    def on_pong(self, payload: bytes) -> None: ...

    def on_closing(self, ending: Ending) -> None:
        self.ends.append(ending.text)

    def on_backlog(self, unsent: int) -> None:
        self.unsent.append(unsent)

    def on_write_stalled(self) -> None:
        self.stalls += 1

    def on_undelivered(self, frames: int) -> None: ...

    def on_closed(self) -> None:
        self.closed += 1


class Sent:
    forwarded = forwarded_bytes = 0


class Scene:
    """One connection with the intervals of production."""

    def __init__(self, room: int = 10**9, waiting: bytes = b"") -> None:
        self.loop = Loop(1000.0)
        wheel = TimerWheel(cast("asyncio.AbstractEventLoop", self.loop), TICK)
        self.transport = Transport()
        self.transport.room = room
        self.transport.waiting += waiting
        self.handler = Handler()
        self.sent = Sent()
        self.live = LiveConnections[Any](most=1)
        held = HeldBytes(2**20)
        conditions = ConnectionContext(wheel, Intervals(tick=TICK), 262144, self.live, held)
        self.connection = Connection(
            cast("asyncio.Transport", self.transport), self.handler, conditions, self.sent
        )

    def says(self, data: bytes) -> None:
        """The peer sends this, if it is read."""
        assert self.transport.reading
        self.connection.receive(data)

    def passes(self, seconds: float) -> None:
        self.loop.advance(seconds)
        assert not self.loop.faults

    def said(self) -> bytes:
        """What the peer has got since the last call."""
        taken = bytes(self.transport.taken)
        self.transport.taken.clear()
        return taken


def closing(code: int, reason: str) -> bytes:
    payload = close_payload(code, reason)
    return bytes((0x80 | CLOSE, len(payload))) + payload


def test_every_byte_the_kernel_does_not_take_is_known_of() -> None:
    scene = Scene(room=2)
    assert scene.transport.high == 0
    assert scene.connection.send((FRAME,), 1)
    assert (scene.connection.blocked, scene.handler.unsent) == (True, [1])


# -- heartbeats ------------------------------------------------------------------------------------


def test_a_ping_after_thirty_seconds_and_thirty_for_the_pong() -> None:
    scene = Scene()
    scene.passes(29.9)
    assert scene.said() == b""
    scene.passes(0.4)
    assert scene.said() == PING
    scene.passes(29.4)
    assert scene.said() == b""
    scene.passes(0.6)
    assert scene.said() == closing(1011, "heartbeat timeout")


def test_a_pong_in_time_and_the_next_ping_comes_as_if_nothing_had_been() -> None:
    scene = Scene()
    for _ in range(3):
        scene.passes(30.25)
        assert scene.said() == PING
        scene.says(client_frame(b"", PONG))
    assert not scene.handler.ends


def test_who_is_not_read_is_not_silent_and_has_all_its_time_afterwards() -> None:
    scene = Scene()
    scene.passes(20)
    scene.connection.pause_reading()
    scene.passes(200)
    assert set(scene.said().split(PING)) == {b""}
    scene.connection.resume_reading()
    scene.passes(29)
    assert scene.said() == b""
    scene.passes(2)
    assert scene.said() == closing(1011, "heartbeat timeout")


def test_a_message_begun_before_it_was_not_read_has_all_its_time_afterwards() -> None:
    scene = Scene()
    scene.says(client_frame(b"1", PONG) + client_frame(b'"begun"')[:5])
    scene.passes(20)
    scene.connection.pause_reading()
    scene.passes(100)
    assert scene.said().replace(PING, b"") == b""
    scene.connection.resume_reading()
    scene.says(client_frame(b"", PONG))
    scene.passes(29)
    assert scene.said().replace(PING, b"") == b""
    scene.passes(2)
    assert scene.said() == closing(1011, "message timeout")


def test_a_ping_passes_what_waits() -> None:
    scene = Scene(room=1)
    for _ in range(2):
        scene.connection.send((FRAME,), 1)
    scene.connection.ping()
    scene.transport.take(100)
    assert scene.said() == FRAME + PING + FRAME


def test_who_is_being_closed_is_not_pinged() -> None:
    scene = Scene()
    scene.passes(29)
    scene.connection.close(NO_SERVER)
    scene.passes(3)
    assert scene.said() == closing(4404, "no server with that id")


# -- writing ---------------------------------------------------------------------------------------


def test_ten_seconds_without_a_byte_taken_is_a_stall() -> None:
    scene = Scene(room=0)
    scene.connection.send((FRAME,), 1)
    scene.passes(9.9)
    assert scene.handler.stalls == 0
    scene.passes(0.4)
    assert scene.handler.stalls == 1
    scene.passes(25)
    assert scene.handler.stalls == 1


def test_a_byte_every_nine_seconds_is_progress_and_none_in_the_next_ten_is_a_stall() -> None:
    scene = Scene(room=0)
    scene.connection.send((FRAME * 20,), 20)
    for _ in range(20):
        scene.passes(9)
        scene.transport.take(1)
        scene.says(client_frame(b"", PONG))
        assert scene.handler.stalls == 0
    scene.passes(20.5)
    assert scene.handler.stalls == 1


def test_who_has_taken_all_is_not_stalled() -> None:
    scene = Scene(room=0)
    scene.connection.send((FRAME,), 1)
    scene.passes(5)
    scene.transport.take(10)
    scene.passes(20)
    assert (scene.handler.stalls, scene.connection.blocked) == (0, False)


def test_what_waits_goes_in_slices_so_that_the_rest_can_still_be_dropped() -> None:
    scene = Scene(room=0)
    large = b"x" * 50_000
    scene.connection.send((FRAME,), 1)
    for _ in range(10):
        scene.connection.send((large,), 1)
    assert scene.sent.forwarded_bytes == 3
    scene.transport.take(4)
    assert scene.transport.get_write_buffer_size() == 100_000 - 1
    assert (scene.sent.forwarded, scene.sent.forwarded_bytes) == (3, 100_003)
    assert scene.connection.unsent == 99_999 + 8 * (50_000 + 64)


def test_born_blocked_is_blocked() -> None:
    scene = Scene(room=0, waiting=b"HTTP/1.1 200 OK")
    scene.connection.send((FRAME,), 1)
    assert scene.handler.unsent == [15 + 3 + 64]
    scene.passes(10.5)
    assert scene.handler.stalls == 1
    scene.transport.take(100)
    assert scene.said() == b"HTTP/1.1 200 OK" + FRAME


# -- the end ---------------------------------------------------------------------------------------


def test_five_seconds_for_the_answer_to_a_close_frame() -> None:
    scene = Scene()
    scene.connection.close(NO_SERVER)
    scene.passes(4.7)
    assert scene.transport.state == "open"
    scene.passes(0.6)
    assert scene.transport.state == "aborted"


def test_the_five_seconds_begin_when_the_close_frame_has_gone() -> None:
    scene = Scene(room=0)
    scene.connection.send((FRAME,), 1)
    scene.connection.close(NO_SERVER)
    scene.passes(6)
    assert scene.transport.state == "open"
    scene.transport.take(1000)
    assert scene.said() == FRAME + closing(4404, "no server with that id")
    scene.passes(4.5)
    assert scene.transport.state == "open"
    scene.passes(0.8)
    assert scene.transport.state == "aborted"


def test_who_is_failed_has_five_seconds_however_much_waits() -> None:
    scene = Scene(room=0)
    scene.connection.send((FRAME,), 1)
    scene.connection.fail(WRITE_FAILED)
    scene.passes(4.7)
    assert scene.transport.state == "open"
    scene.passes(0.6)
    assert scene.transport.state == "aborted"


def test_who_is_failed_while_its_close_frame_waits_is_dropped() -> None:
    scene = Scene(room=0)
    scene.connection.send((FRAME,), 1)
    scene.connection.close(NO_SERVER)
    scene.connection.fail(WRITE_FAILED)
    assert (scene.transport.state, scene.handler.ends) == (
        "aborted",
        ["closed by relay: no server with that id (4404)"],
    )
    assert scene.handler.closed == 1


@pytest.mark.parametrize("end", ["a close frame", "the end of TCP"])
def test_who_has_said_goodbye_and_takes_nothing_is_dropped_after_five_seconds(end: str) -> None:
    scene = Scene(room=0)
    scene.connection.send((FRAME,), 1)
    if end == "a close frame":
        scene.says(client_frame(close_payload(4000), CLOSE))
        assert (scene.transport.state, scene.handler.ends) == (
            "closing",
            ["closed by peer with 4000"],
        )
        assert scene.handler.closed == 1
    else:
        scene.connection.eof_received()
    scene.passes(4.7)
    assert scene.transport.state != "aborted"
    scene.passes(0.6)
    assert scene.transport.state == "aborted"


def test_a_violation_ends_our_side_of_tcp() -> None:
    scene = Scene()
    scene.says(b"\xf1\x80\0\0\0\0")
    assert scene.said() == closing(1002, "reserved bit set")
    assert scene.transport.state == "half"


def test_who_was_not_read_is_read_again_for_its_close_frame() -> None:
    scene = Scene()
    scene.connection.pause_reading()
    scene.connection.close(NO_SERVER)
    scene.says(client_frame(close_payload(4404), CLOSE))
    assert (scene.transport.state, scene.handler.ends) == (
        "closing",
        ["closed by relay: no server with that id (4404)"],
    )
    assert scene.handler.closed == 1


def test_the_end_is_told_at_once_and_once() -> None:
    scene = Scene()
    scene.connection.abort()
    for _ in range(2):
        assert scene.handler.ends == ["closed by peer without a close frame"]
        assert scene.handler.closed == 1
        scene.connection.connection_lost(None)


# -- stalls of the relay itself --------------------------------------------------------------------


def test_stalls_move_the_deadline_of_one_message_by_thirty_seconds_in_all() -> None:
    scene = Scene()
    scene.says(client_frame(b'"begun"')[:5])
    message = scene.connection._deadlines.message
    scene.connection.stalled(20.0)  # the clock is set back, so nothing has to change
    assert scene.connection._deadlines.message == message
    scene.connection.stalled(20.0)
    assert scene.connection._deadlines.message == message - 10
    scene.connection.stalled(5.0)
    assert scene.connection._deadlines.message == message - 15
    scene.says(client_frame(b'"begun"')[5:] + client_frame(b'"begun"')[:5])
    message = scene.connection._deadlines.message
    scene.connection.stalled(20.0)  # another message
    assert scene.connection._deadlines.message == message
