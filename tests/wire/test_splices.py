"""TLS connections whose owner is another worker: bytes, slow peers, and every way to end."""

import asyncio
import json
import os
import signal
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.harness import SECURE, START, relay_with_workers, running_relay
from tests.support.in_subprocess import RelayInSubprocess
from tests.support.peer import (
    CLOSE,
    PING,
    TEXT,
    TIMEOUT,
    Peer,
    client_frame,
    close_payload,
    request,
    upgrade_headers,
)

MESSAGE = 250_000


@asynccontextmanager
async def secure_workers(**changed: Any) -> AsyncIterator[RelayInSubprocess]:
    start, secure = START.set(relay_with_workers), SECURE.set(True)
    try:
        async with running_relay(**changed) as relay:
            yield relay
    finally:
        START.reset(start)
        SECURE.reset(secure)


async def spliced(relay: RelayInSubprocess, side: str, window: int = 0) -> Peer:
    """A connection that another worker than its owner has accepted."""
    while True:
        peer = await getattr(relay, side)(window=window)
        if len(relay.holders_of(peer)) == 2:
            return peer
        await peer.close()
        await asyncio.sleep(0.01)


async def envelope_of(binary: Peer) -> bytes:
    """The next envelope with a frame; notices of phones that were not spliced are passed over."""
    while b'"frame":' not in (text := await binary.text()):
        pass
    return text


async def conn_id_of(phone: Peer, binary: Peer) -> str:
    phone.send_text("1")
    return str(json.loads(await envelope_of(binary))["conn_id"])


async def pair(relay: RelayInSubprocess) -> tuple[Peer, Peer]:
    """A binary, and a phone of it that another worker than their owner has accepted."""
    binary = await relay.binary()
    return binary, await spliced(relay, "phone")


async def test_large_messages_both_ways_byte_for_byte() -> None:
    async with secure_workers() as relay:
        binary, phone = await pair(relay)
        said = [json.dumps(f"{number}" * MESSAGE).encode() for number in range(8)]
        for text in said:
            phone.send_text(text)
        for text in said:
            envelope = await envelope_of(binary)
            assert envelope.endswith(b'"frame":' + text + b"}")
        conn_id = json.loads(envelope)["conn_id"].encode()
        for text in said:
            binary.send_text(b'{"conn_id":"' + conn_id + b'","frame":' + text + b"}")
        for text in said:
            assert await phone.text() == text


def write_failures(relay: RelayInSubprocess) -> float:
    return relay.value("connections_closed_total", side="phone", cause="write_failed", code="1xxx")


@asynccontextmanager
async def backlog(write: float) -> AsyncIterator[tuple[RelayInSubprocess, Peer]]:
    """A relay with a write deadline, and a spliced phone that megabytes wait for."""
    async with secure_workers(intervals={"write": write}) as relay:
        binary, _ = await pair(relay)
        phone = await spliced(relay, "phone", window=8192)
        conn_id = await conn_id_of(phone, binary)
        phone.stop_reading()
        for _ in range(14):
            binary.send_text(f'{{"conn_id":"{conn_id}","frame":{json.dumps("x" * MESSAGE)}}}')
        yield relay, phone


async def test_a_phone_that_takes_nothing_is_closed() -> None:
    async with backlog(0.5) as (relay, _):
        await relay.until(lambda: write_failures(relay) == 1)


async def test_a_slow_phone_is_not_stalled() -> None:
    async with backlog(2.0) as (relay, phone):
        for _ in range(30):  # longer than the write deadline, a little at a time
            phone.read_on()
            await asyncio.sleep(0.002)
            phone.stop_reading()
            await asyncio.sleep(0.1)
        assert write_failures(relay) == 0


async def test_any_byte_of_a_spliced_peer_is_a_sign_of_life() -> None:
    async with secure_workers(intervals={"ping": 0.1, "pong": 2.0}) as relay:
        _, phone = await pair(relay)

        async def say_a_long_message_slowly() -> None:
            for byte in client_frame(b'"' + bytes(100_000)):
                phone.writer.write(bytes([byte]))
                await asyncio.sleep(0.01)

        speaking = asyncio.create_task(say_a_long_message_slowly())
        # No ping is answered. The relay sends the second one if it sees that the peer lives.
        assert [(await phone.frame()).opcode for _ in range(2)] == [PING, PING]
        speaking.cancel()


async def test_why_a_spliced_connection_ended_is_known_to_its_owner() -> None:
    async with secure_workers() as relay:
        _, phone = await pair(relay)
        record = b"\x17\x03\x03\x00\x20" + bytes(32)  # nobody has encrypted it
        os.write(phone.writer.get_extra_info("socket").fileno(), record)
        await relay.until(lambda: closed_by(relay, "tls_failed") == 1)


async def test_the_system_says_of_a_spliced_connection_that_it_was_reset() -> None:
    async with secure_workers() as relay:
        binary, phone = await pair(relay)
        conn_id = await conn_id_of(phone, binary)
        sock = phone.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        phone.writer.transport.abort()
        await relay.until(lambda: relay.live == 1)
        (line,) = [
            line
            for line in relay.log_of("phone_forwarder_read_end")
            if f" conn_id={conn_id} " in line
        ]
        assert 'err="Connection reset by peer"' in line


def closed_by(relay: RelayInSubprocess, cause: str) -> float:
    return relay.value("connections_closed_total", side="phone", cause=cause, code="none")


@pytest.mark.parametrize("way", ["close", "vanish"])
async def test_a_peer_that_ends_is_seen_to_end(way: str) -> None:
    async with secure_workers() as relay:
        binary, phone = await pair(relay)
        conn_id = await conn_id_of(phone, binary)
        if way == "close":
            await phone.say_goodbye(4001)
        else:
            await phone.close()
        code = 4001 if way == "close" else 1001
        assert await binary.json() == {"conn_id": conn_id, "close_code": code}
        await relay.until(lambda: relay.live == 1)


async def test_what_the_owner_closes_is_closed() -> None:
    async with secure_workers(intervals={"close": 0.3}) as relay:
        binary, phone = await pair(relay)
        conn_id = await conn_id_of(phone, binary)
        binary.send_json({"conn_id": conn_id, "close_code": 4401})
        assert await phone.closed() == (4401, "")
        assert await phone.at_eof()
        again = await spliced(relay, "phone")
        conn_id = await conn_id_of(again, binary)
        binary.send_json({"conn_id": conn_id, "close_code": 4402})
        assert await again.closed(answer=False) == (4402, "")
        assert await again.at_eof()  # it does not answer, and is dropped
        await relay.until(lambda: relay.live == 1)


async def test_a_peer_that_broke_the_protocol_and_leaves_is_gone_at_once() -> None:
    """The relay has ended its side behind the close frame. The drain waits for splices, and would
    wait for this one until its close interval is over."""
    async with secure_workers(intervals={"close": 1000.0, "drain": 1000.0}) as relay:
        binary, phone = await pair(relay)
        phone.send(client_frame(b"1", masked=False))
        assert (await phone.closed(answer=False))[0] == 1002
        assert await phone.at_eof()
        await phone.close()
        await binary.close()
        await relay.drain()


async def test_a_peer_that_is_dropped_gets_no_close_notify() -> None:
    async with secure_workers(intervals={"close": 0.1}) as relay:
        binary = await relay.binary()
        headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"}
        said = request("/v1/client", upgrade_headers(headers)) + client_frame(b"1")
        # So many that one at least is spliced.
        phones = [
            asyncio.create_task(asyncio.to_thread(how_it_ends, relay, said)) for _ in "12345678"
        ]
        for _ in phones:
            conn_id = json.loads(await envelope_of(binary))["conn_id"]
            binary.send_json({"conn_id": conn_id, "close_code": 4402})
        assert {await phone for phone in phones} == {"dropped"}


def how_it_ends(relay: RelayInSubprocess, said: bytes) -> str:
    """How the relay ends the TLS connection of a client that answers no close frame."""
    assert relay.tls is not None
    with socket.create_connection(("127.0.0.1", relay.port), timeout=TIMEOUT) as sock:
        tls = relay.tls.wrap_socket(sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        with tls:
            tls.sendall(said)
            try:
                while tls.recv(65536):
                    pass
            except (ssl.SSLEOFError, ConnectionResetError):
                return "dropped"
            return "closed"


async def test_a_drain_reaches_peers_behind_another_worker() -> None:
    async with secure_workers() as relay:
        binary, phone = await pair(relay)
        draining = asyncio.create_task(relay.drain())
        while (frame := await binary.frame()).opcode == TEXT:
            pass  # notices of phones
        assert frame.payload == close_payload(1001, "shutting down")
        binary.send(client_frame(frame.payload, CLOSE))
        assert await phone.closed() == (1001, "shutting down")
        for peer in (binary, phone):
            assert await peer.at_eof()
        await draining


async def test_a_killed_worker_takes_binaries_it_carried_and_their_phones_get_4404() -> None:
    intervals = {"grace": 0.2, "worker_restart": 0.05}
    async with secure_workers(intervals=intervals) as relay:
        first = await relay.binary()
        owner = next(i for i in (0, 1) if relay.value("worker_connections", worker=str(i)))
        await first.close()
        await relay.until(lambda: relay.value("connected_binaries") == 0)
        binary = await spliced(relay, "binary")
        os.kill(relay.workers[1 - owner], signal.SIGKILL)
        assert await binary.at_eof()
        await relay.until(lambda: relay.value("grace_expiries_total") >= 1)
        await relay.until(lambda: relay.value("worker_up", worker=str(1 - owner)) == 1)
        late = await relay.phone()
        assert await late.closed() == (4404, "no server with that id")
