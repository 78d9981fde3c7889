"""The relay's process is stopped and goes on: nobody pays for it (protocol, liveness)."""

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.support.certificates import authority, local_certificate
from tests.support.harness import START, relay_in_subprocess, relay_with_workers, running_relay
from tests.support.in_subprocess import RelayInSubprocess
from tests.support.peer import (
    CLOSE,
    PING,
    PONG,
    client_frame,
    close_payload,
    request,
    upgrade_headers,
)
from tests.support.record_client import join
from tests.support.tls_scene import complete, inside_a_message

STOPPED = 2.5
"""Seconds; longer than every interval here that a test is about."""


@pytest.fixture(autouse=True)
def in_subprocess() -> Iterator[None]:
    """Relays of this module are processes of their own."""
    token = START.set(relay_in_subprocess)
    yield
    START.reset(token)


async def nothing() -> None:
    """The peers do nothing meanwhile."""


async def while_stopped(relay: RelayInSubprocess, action: Callable[[], Awaitable[None]]) -> None:
    """Stop the relay's processes, let the peers do something, and let them go on."""
    processes = (relay.pid, *relay.workers.values())
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(0.1)
    await action()
    await asyncio.sleep(STOPPED)
    for pid in processes:
        os.kill(pid, signal.SIGCONT)


async def test_healthy_peers_outlive_a_stop_of_the_relay() -> None:
    async with running_relay(intervals={"ping": 0.5, "pong": 2.0}) as relay:
        peers = [await relay.binary(), *[await relay.phone() for _ in range(10)]]
        pings = [await peer.frame() for peer in peers]
        assert all(ping.opcode == PING for ping in pings)

        async def answer() -> None:
            for peer, ping in zip(peers, pings, strict=True):
                peer.send(client_frame(ping.payload, PONG))

        await while_stopped(relay, answer)
        for peer in peers:
            assert (await peer.frame()).opcode == PING  # and no close frame
            peer.send(client_frame(b"", PONG))
        (line,) = relay.log_of("loop_stalled")
        assert float(line.split("duration=")[1].split()[0]) > 1
        assert relay.value("loop_stalls_total") == 1
        assert relay.value("loop_stall_seconds_total") > 1


async def test_an_incumbent_whose_pong_lies_in_the_socket_keeps_its_server_id() -> None:
    async with running_relay(intervals={"takeover_probe": 2.0}) as relay:
        incumbent, newcomer = await relay.binary(), await relay.binary()
        ping = await incumbent.frame()

        async def answer() -> None:
            incumbent.send(client_frame(ping.payload, PONG))

        await while_stopped(relay, answer)
        assert await newcomer.closed() == (4409, "server-id already claimed")


async def test_clients_in_mid_head_get_their_101() -> None:
    async with running_relay(intervals={"head": 2.0}) as relay:
        await relay.binary()
        headers = upgrade_headers({"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"})
        head = request("/v1/client", headers)
        clients = [await relay.http() for _ in range(50)]
        for client in clients:
            client.send(head[:40])
        await asyncio.sleep(0.1)

        await while_stopped(relay, nothing)
        for client in clients:
            client.send(head[40:])
        for client in clients:
            assert (await client.response())[0] == 101


async def test_grace_moves_by_a_stop() -> None:
    async with running_relay(intervals={"grace": 2.0}) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        await binary.close()
        await relay.until(lambda: relay.log_of("server_released"))

        await while_stopped(relay, nothing)
        again = await relay.binary()
        assert await phone.closed() == (4404, "binary reclaimed server-id")
        assert relay.value("grace_expiries_total") == 0
        await again.close()


@pytest.mark.parametrize("start", [relay_in_subprocess, relay_with_workers])
async def test_the_drain_moves_by_a_stop(start: object) -> None:
    START.set(start)  # until the fixture ends
    goodbye = client_frame(close_payload(1001), CLOSE)
    async with running_relay(intervals={"drain": 2.0}) as relay:
        late, early = await relay.binary(), await relay.phone()
        draining = asyncio.create_task(relay.drain())
        for peer in (late, early):
            assert await peer.closed(answer=False) == (1001, "shutting down")

        async def answer() -> None:
            early.send(goodbye)

        await while_stopped(relay, answer)
        assert await early.reader.read() == b""  # an answer that was not read would be a reset
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await late.reader.read()
        late.send(goodbye)
        assert await late.reader.read() == b""
        await draining


async def test_the_time_to_read_a_refusal_moves_by_a_stop() -> None:
    async with running_relay(intervals={"linger": 2.0}) as relay:
        client = await relay.http()
        client.send(b"no HTTP\r\n\r\n")
        assert (await client.response())[0] == 400

        await while_stopped(relay, nothing)
        assert relay.live == 1
        await relay.until(lambda: not relay.live)


async def test_a_client_in_the_middle_of_its_tls_handshake_ends_it() -> None:
    async with running_relay(tls=local_certificate(), intervals={"head": 1.5}) as relay:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = authority().client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        relay.tls = None
        client = await relay.http()
        client.send(hello[:100])
        await asyncio.sleep(0.1)

        await while_stopped(relay, nothing)
        client.send(hello[100:])
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = await client.reader.read(65536)
                assert data
                incoming.write(data)


async def test_a_peer_inside_a_handshake_message_ends_it() -> None:
    async with running_relay(tls=local_certificate(), intervals={"tls_stall": 1.5}) as relay:
        binary, phone = await relay.binary(), await join(relay, "phone", "1.3", "s1")
        rest = await inside_a_message(phone, "1.3")
        await asyncio.sleep(0.1)

        await while_stopped(relay, nothing)
        assert relay.value("connected_phones") == 1  # it has looked at its timeouts
        complete(phone, "1.3", rest)
        phone.send_text('"on"')
        assert (await binary.json())["frame"] == "on"
