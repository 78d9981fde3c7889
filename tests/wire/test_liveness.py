"""Heartbeats and deadlines over real sockets."""

import asyncio

import pytest

from fastrelay.websocket.connection import Connection
from tests.support.harness import RelayInProcess, RunningRelay, running_relay
from tests.support.peer import PING, PONG, TEXT, Peer, client_frame

PINGING = {"ping": 0.03, "pong": 0.5}
DEADLINE = 100.0
"""Seconds that the relay's clock is told of."""

FLOOD = b'"' + b"f" * 100_000 + b'"'


async def conn_id_of(phone: Peer, binary: Peer) -> str:
    phone.send_text("0")
    return str((await binary.json())["conn_id"])


def flood(binary: Peer, conn_id: str, frames: int) -> None:
    """Frames of 100 kB for one phone."""
    envelope = b'{"conn_id":"%b","frame":%b}' % (conn_id.encode(), FLOOD)
    for _ in range(frames):
        binary.send_text(envelope)


async def answer_pings(peer: Peer, count: int) -> None:
    while count:
        frame = await peer.frame()
        assert frame.opcode in {PING, TEXT}, frame  # a binary also gets close notices
        if frame.opcode == PING:
            peer.send(client_frame(frame.payload, PONG))
            count -= 1


async def test_who_answers_pings_lives_and_who_does_not_is_closed() -> None:
    async with running_relay(intervals=PINGING) as relay:
        binary, silent, alive = await relay.binary(), await relay.phone(), await relay.phone()
        answering = [asyncio.create_task(answer_pings(peer, 3)) for peer in (alive,)]
        caring = asyncio.create_task(answer_pings(binary, 2))
        frame = await silent.frame()
        assert frame.opcode == PING
        assert await silent.closed() == (1011, "heartbeat timeout")
        await asyncio.gather(*answering, caring)


async def test_a_binary_that_does_not_answer_is_released_into_grace() -> None:
    async with running_relay(intervals=PINGING) as relay:
        binary = await relay.binary()
        await binary.frame()
        assert await binary.closed() == (1011, "heartbeat timeout")
        await relay.until(lambda: relay.log_of("server_released"))
        assert relay.value("connected_binaries") == 0


@pytest.mark.parametrize("said", [client_frame(b"{}"), client_frame(b"{}")[:1]])
async def test_any_byte_after_a_ping_is_a_sign_of_life(said: bytes) -> None:
    async with running_relay(intervals=PINGING) as relay:

        async def says(peer: Peer) -> None:
            assert (await peer.frame()).opcode == PING
            peer.send(said)
            while (await peer.frame()).opcode != PING:  # only who is alive is pinged again
                pass
            assert await peer.closed() == (1011, "heartbeat timeout")

        await says(await relay.binary("other"))
        caring = asyncio.create_task(answer_pings(await relay.binary(), 10**6))
        await says(await relay.phone())
        caring.cancel()
        await asyncio.gather(caring, return_exceptions=True)


async def test_an_acknowledged_ping_is_no_sign_of_life() -> None:
    async with running_relay(intervals=PINGING | {"close": 0.05}) as relay:
        binary = await relay.binary()
        binary.stop_reading()  # its kernel acknowledges
        await relay.until(lambda: relay.log_of("server_released"))


async def test_a_started_message_must_be_complete_in_time() -> None:
    async with running_relay(intervals={"message": 0.05}) as relay:
        binary = await relay.binary()
        whole, header, fragment = [await relay.phone() for _ in range(3)]
        header.send(b"\x81")
        fragment.send(client_frame(b"[1", fin=False))
        for peer in (header, fragment):
            assert await peer.closed() == (1011, "message timeout")
        await asyncio.sleep(0.1)  # silence between messages is fine
        whole.send_text("1")
        assert (await binary.json())["conn_id"]


async def test_one_byte_a_moment_does_not_hold_a_message_open() -> None:
    async with running_relay(intervals={"message": 0.1}) as relay:
        await relay.binary()
        phone = await relay.phone()

        async def drip() -> None:
            for byte in client_frame(FLOOD):
                phone.send(bytes([byte]))
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        assert await phone.closed() == (1011, "message timeout")
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def test_each_message_of_an_endless_stream_has_its_own_time() -> None:
    async with running_relay(intervals={"message": DEADLINE}) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        frame = client_frame(b'"' + b"s" * 500 + b'"')
        phone.send(frame[:200])
        for _ in range(6):  # never between two messages, for longer than one may take
            phone.send(frame[200:] + frame[:200])
            assert (await binary.json())["frame"] == "s" * 500
            await relay.pass_time(DEADLINE / 2)


async def stalled_phone(relay: RunningRelay, frames: int) -> tuple[Peer, Peer, str]:
    """A binary that has sent ``frames`` x 100 kB to a phone that does not read."""
    binary, phone = await relay.binary(), await relay.phone(window=4096)
    conn_id = await conn_id_of(phone, binary)
    phone.stop_reading()
    flood(binary, conn_id, frames)
    return binary, phone, conn_id


async def test_a_phone_that_takes_nothing_is_closed_and_what_waited_is_dropped() -> None:
    huge = {"phone_backlog_bytes": 2**30, "held_bytes": 2**30}
    async with running_relay(intervals={"write": 0.1}, limits=huge) as relay:
        binary, phone, conn_id = await stalled_phone(relay, 120)
        other = await relay.phone()
        await relay.until(lambda: relay.value("frames_received_total", **DOWN) == 120)
        await relay.until(lambda: relay.value("frames_dropped_total", **DOWN, reason="closing"))
        phone.read_on()
        frames = 0
        while (frame := await phone.frame()).opcode == 1:
            assert frame.payload == FLOOD
            frames += 1
        assert frame.payload == b"\x03\xf3phone write failed"
        await phone.close()
        assert (await binary.json()) == {"conn_id": conn_id, "close_code": 1001}
        assert relay.value("frames_forwarded_total", **DOWN) == frames < 120
        # Those that the binary sent after the close found no phone, if the machine was slow.
        dropped = [
            relay.value("frames_dropped_total", **DOWN, reason=reason)
            for reason in ("closing", "no_peer")
        ]
        assert sum(dropped) == 120 - frames
        await conn_id_of(other, binary)


DOWN = {"direction": "binary_to_phone"}


async def test_a_phone_that_reads_slowly_is_kept_and_gets_everything() -> None:
    huge = {"phone_backlog_bytes": 2**30, "held_bytes": 2**30}
    async with running_relay(intervals={"write": DEADLINE}, limits=huge) as relay:
        _, phone, _ = await stalled_phone(relay, 120)
        await trickle(relay, phone, phone_connection(relay))
        phone.read_on()
        for _ in range(120):
            assert await phone.text() == FLOOD
        assert relay.value("frames_forwarded_total", **DOWN) == 120


def phone_connection(relay: RelayInProcess) -> Connection:
    """That of the only phone."""
    (phone,) = relay.phones_of("s1")
    return phone.connection


def acknowledged(connection: Connection) -> int:
    """The bytes that the peer's kernel has acknowledged."""
    told = connection.tcp_bytes()
    assert told is not None
    return told.acknowledged


async def trickle(relay: RelayInProcess, peer: Peer, connection: Connection) -> None:
    """Read some bytes before each of many deadlines, and no more."""
    for _ in range(5):
        before = acknowledged(connection)
        peer.read_on()
        await relay.until(lambda before=before: acknowledged(connection) > before)
        peer.stop_reading()
        await relay.pass_time(DEADLINE)


async def test_a_phone_that_acknowledges_bytes_is_not_stalled_however_slow() -> None:
    huge = {"phone_backlog_bytes": 2**30, "held_bytes": 2**30, "phone_send_buffer": 0}
    async with running_relay(intervals={"write": DEADLINE}, limits=huge) as relay:
        binary, phone = await relay.binary(), await relay.phone(window=16384)
        conn_id = await conn_id_of(phone, binary)
        phone.stop_reading()
        flood(binary, conn_id, 80)
        await relay.until(lambda: relay.buffered > 0)
        await trickle(relay, phone, phone_connection(relay))
        phone.read_on()
        for _ in range(80):
            assert await phone.text() == FLOOD


async def test_a_binary_that_acknowledges_bytes_is_not_stalled_however_slow() -> None:
    intervals = {"write": DEADLINE}
    async with running_relay(intervals=intervals, limits={"binary_send_buffer": 0}) as relay:
        binary, phone = await relay.binary(window=16384), await relay.phone()
        binary.stop_reading()
        sending = asyncio.create_task(send_all(phone, 80))
        connection = relay.binary_of("s1").connection
        await relay.until(lambda: connection.blocked)
        await trickle(relay, binary, connection)
        assert not relay.log_of("server_released")
        binary.read_on()
        for _ in range(80):
            assert len(await binary.text()) > len(FLOOD)
        await sending


async def test_what_the_kernel_takes_for_a_phone_is_bounded() -> None:
    async with running_relay() as relay:
        await stalled_phone(relay, 30)
        await relay.until(lambda: relay.value("frames_received_total", **DOWN) == 30)
        assert relay.value("phone_backlog_bytes") > 30 * len(FLOOD) - 1_000_000


async def test_a_peer_that_still_gets_what_was_sent_is_not_dropped_in_closing() -> None:
    async with running_relay(intervals={"close": DEADLINE}) as relay:
        binary, phone = await relay.binary(), await relay.phone(window=16384)
        conn_id = await conn_id_of(phone, binary)
        connection = phone_connection(relay)
        phone.stop_reading()
        flood(binary, conn_id, 36)
        binary.send_json({"conn_id": conn_id, "close_code": 4001})
        binary.send_json({"conn_id": "nobody", "frame": 0})
        await relay.until(lambda: relay.log_of("binary_forwarder_unknown_conn_id"))
        await trickle(relay, phone, connection)
        phone.read_on()
        for _ in range(36):
            assert await phone.text() == FLOOD
        assert await phone.closed() == (4001, "")


async def test_a_binary_that_takes_nothing_is_gone_and_grace_applies() -> None:
    async with running_relay(intervals={"write": 0.1}) as relay:
        binary, phone = await relay.binary(window=4096), await relay.phone()
        binary.stop_reading()
        sending = asyncio.create_task(send_all(phone, 200))
        await relay.until(lambda: relay.log_of("server_released"))
        assert relay.registry_size == 1  # in grace
        assert await phone.closed() == (1000, "")
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def send_all(phone: Peer, frames: int) -> None:
    for _ in range(frames):
        phone.send_text(FLOOD)
        await phone.writer.drain()


async def test_pings_of_a_peer_that_does_not_read_are_answered_once() -> None:
    async with running_relay() as relay:
        _, phone, _ = await stalled_phone(relay, 30)
        await relay.until(lambda: relay.value("frames_received_total", **DOWN) == 30)
        phone.send(b"".join(client_frame(b"%d" % n, PING) for n in range(1000)))
        phone.send_text("1")
        await relay.until(
            lambda: relay.value("frames_received_total", direction="phone_to_binary") == 2
        )
        phone.read_on()
        frames = [await phone.frame() for _ in range(31)]
        assert [f.payload for f in frames if f.opcode == PONG] == [b"999"]
