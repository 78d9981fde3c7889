"""One peer is at fault while others carry traffic that is checked byte for byte.

Each test does its fault inside :func:`hurt_relay`, which fails if a bystander misses or gets a
wrong byte, if anything is left afterwards, or if the counters do not add up.
"""

import asyncio
import socket
import struct

import pytest

from tests.support.harness import RunningRelay
from tests.support.hurting import hurt_relay
from tests.support.peer import Peer, client_frame, request

KIB_256 = 256 * 1024
UP, DOWN = {"direction": "phone_to_binary"}, {"direction": "binary_to_phone"}
RECEIVED = "frames_received_total"
PAYLOAD = "p" * 100_000


async def joined(relay: RunningRelay, *, window: int = 0) -> tuple[Peer, Peer, str]:
    """The pair that is to be at fault; ``window`` for the phone."""
    binary, phone = await relay.binary(), await relay.phone(window=window)
    phone.send_text("0")
    return binary, phone, (await binary.json())["conn_id"]


def reset(peer: Peer) -> None:
    """Close with RST instead of FIN."""
    sock = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.writer.transport.abort()


async def notice(binary: Peer) -> int:
    """The code of the close notice that comes next."""
    return int((await binary.json())["close_code"])


async def cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def send_until_cut(peer: Peer, frame: bytes) -> None:
    """Send the frame as fast as the relay takes it."""
    try:
        while True:
            peer.send(frame)
            await peer.writer.drain()
    except OSError:
        pass


async def test_a_phone_stops_reading() -> None:
    async with hurt_relay() as relay:
        binary, phone, conn_id = await joined(relay, window=4096)
        phone.stop_reading()
        for _ in range(150):
            binary.send_json({"conn_id": conn_id, "frame": PAYLOAD})
            await binary.writer.drain()
        assert await notice(binary) == 1001


async def test_a_binary_stops_reading() -> None:
    async with hurt_relay(intervals={"write": 0.5}) as relay:
        binary, phone = await relay.binary(window=4096), await relay.phone()
        binary.stop_reading()
        frame = client_frame(b'"' + b"x" * 100_000 + b'"')
        sending = asyncio.create_task(send_until_cut(phone, frame))
        assert await phone.closed() == (1000, "")
        await cancelled(sending)


async def test_a_peer_sends_byte_by_byte() -> None:
    async with hurt_relay(intervals={"message": 0.5}) as relay:
        binary, phone, _ = await joined(relay)
        for byte in client_frame(b'"' + b"x" * 1000 + b'"'):
            phone.send(bytes([byte]))
            await asyncio.sleep(0.003)  # too slow for one message
            if phone.reader._buffer:
                break
        assert await phone.closed() == (1011, "message timeout")
        await phone.close()
        assert await notice(binary) in {1001, 1011}


@pytest.mark.parametrize("sent", [1, 5, 9, 70_000])
async def test_a_reset_in_the_middle_of_a_frame(sent: int) -> None:
    async with hurt_relay() as relay:
        binary, phone, _ = await joined(relay)
        phone.send(client_frame(b'"' + b"x" * 100_000 + b'"')[:sent])
        await asyncio.sleep(0.02)
        reset(phone)
        assert await notice(binary) == 1001
        binary.send(client_frame(b'{"conn_id"')[:sent])
        reset(binary)
        await relay.until(lambda: relay.log_of("server_released"))


async def test_a_half_close() -> None:
    async with hurt_relay() as relay:
        binary, phone, _ = await joined(relay)
        phone.send_text('"last words"')
        phone.writer.write_eof()
        assert (await binary.json())["frame"] == "last words"
        assert await notice(binary) == 1001
        assert await phone.at_eof()
        binary.writer.write_eof()
        await relay.until(lambda: relay.log_of("server_released"))


async def test_a_peer_that_never_answers() -> None:
    async with hurt_relay(intervals={"ping": 0.3, "pong": 0.1}) as relay:
        binary, phone, _ = await joined(relay)
        for peer in (phone, binary):
            assert (await peer.frame()).opcode == 0x9
        assert await phone.closed(answer=False) == (1011, "heartbeat timeout")
        await relay.until(lambda: relay.log_of("server_released"))


async def test_a_binary_is_killed_and_back_within_grace() -> None:
    async with hurt_relay(intervals={"grace": 1.0}) as relay:
        binary, phone, _ = await joined(relay)
        reset(binary)
        await relay.until(lambda: relay.log_of("server_released"))
        back = await relay.binary()
        assert await phone.closed() == (4404, "binary reclaimed server-id")
        again = await relay.phone()
        again.send_text("1")
        assert (await back.json())["frame"] == 1
        assert relay.value("grace_expiries_total") == 0


async def test_a_binary_is_killed_and_back_after_grace() -> None:
    async with hurt_relay() as relay:
        binary, phone, _ = await joined(relay)
        reset(binary)
        assert await phone.closed() == (1000, "")
        assert relay.value("grace_expiries_total") == 1
        back, again = await relay.binary(), await relay.phone()
        again.send_text("1")
        assert (await back.json())["frame"] == 1


async def test_all_sixteen_phones_stall_at_once() -> None:
    async with hurt_relay(limits={"phone_backlog_bytes": 1024 * 1024}) as relay:
        binary = await relay.binary()
        phones = [await relay.phone(window=4096) for _ in range(16)]
        ids = []
        for phone in phones:
            phone.send_text("0")
            ids.append((await binary.json())["conn_id"])
            phone.stop_reading()
        for _ in range(60):
            for conn_id in ids:
                binary.send_json({"conn_id": conn_id, "frame": PAYLOAD})
            await binary.writer.drain()
        assert {(await binary.json())["conn_id"] for _ in ids} == set(ids)
        assert relay.value("frames_dropped_total", **DOWN, reason="backlog_full") > 0


async def test_a_binary_stalls_under_sixteen_sending_phones() -> None:
    async with hurt_relay(intervals={"write": 0.5}) as relay:
        binary = await relay.binary(window=4096)
        phones = [await relay.phone() for _ in range(16)]
        binary.stop_reading()
        frame = client_frame(b'"' + b"x" * 50_000 + b'"')
        sending = [asyncio.create_task(send_until_cut(phone, frame)) for phone in phones]
        await relay.until(lambda: relay.log_of("server_released"))
        for phone in phones:
            assert (await phone.closed())[0] == 1000
        await cancelled(*sending)


@pytest.mark.parametrize(
    "frame",
    [client_frame(b"1") * 2000, client_frame(b'"' + b"x" * (KIB_256 - 2) + b'"')],
    ids=["1-byte frames", "256 KiB frames"],
)
async def test_a_phone_floods_its_binary(frame: bytes) -> None:
    async with hurt_relay() as relay:
        binary, phone, _ = await joined(relay)
        flooding = asyncio.create_task(send_until_cut(phone, frame))
        for _ in range(3000 if len(frame) < KIB_256 else 60):
            assert (await binary.json())["frame"]
        await cancelled(flooding)


async def test_a_binary_floods_one_phone() -> None:
    async with hurt_relay() as relay:
        binary, flooded, conn_id = await joined(relay, window=4096)
        sibling = await relay.phone()
        sibling.send_text("0")
        sibling_id = (await binary.json())["conn_id"]
        flooded.stop_reading()
        envelope = b'{"conn_id":"%b","frame":"%b"}' % (conn_id.encode(), b"x" * 200_000)
        flooding = asyncio.create_task(send_until_cut(binary, client_frame(envelope)))
        for number in range(20):
            await asyncio.sleep(0.005)
            binary.send_json({"conn_id": sibling_id, "frame": number})
            assert await sibling.json() == number
        assert await notice(binary) == 1001  # it never read, so it was given up
        await cancelled(flooding)
        assert relay.value("frames_dropped_total", **DOWN, reason="backlog_full") > 0


async def test_tiny_fragments_without_end() -> None:
    async with hurt_relay(
        intervals={"message": 0.5}, limits={"useless_frames": 10_000_000}
    ) as relay:
        binary, phone, _ = await joined(relay)
        phone.send(client_frame(b"[", fin=False))
        fragments = client_frame(b"", 0, fin=False) * 5000
        flooding = asyncio.create_task(send_until_cut(phone, fragments))
        assert await phone.closed(answer=False) == (1011, "message timeout")
        await cancelled(flooding)
        await phone.close()
        assert await notice(binary) == 1001


async def test_heads_that_never_end() -> None:
    async with hurt_relay(intervals={"head": 0.2, "linger": 0.1}) as relay:
        drip, silent, endless, garbage = [await relay.http() for _ in range(4)]
        drip.send(b"GET / HTTP/1.1\r\n")
        endless.send(b"GET / HTTP/1.1\r\n" + b"X-Junk: y\r\n" * 10_000)
        assert (await endless.response())[0] == 431
        garbage.send(b"\x16\x03\x01" * 100 + b"\r\n\r\n" + request("/healthz") * 50)
        assert (await garbage.response())[0] == 400
        for client in (drip, silent, endless, garbage):
            assert await client.at_eof()


async def test_sockets_that_say_nothing_do_not_keep_others_out() -> None:
    async with hurt_relay(limits={"handshakes": 20}) as relay:
        silent = [await relay.http() for _ in range(60)]
        binary, phone, _ = await joined(relay)
        phone.send_text("1")
        assert (await binary.json())["frame"] == 1
        for client in silent[:40]:
            assert await client.at_eof()
        await relay.until(lambda: relay.pending <= 20)
