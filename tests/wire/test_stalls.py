"""The relay's process is stopped and goes on: nobody pays for it (protocol, liveness)."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.support.harness import START, relay_in_subprocess, running_relay
from tests.support.in_subprocess import RelayInSubprocess
from tests.support.peer import PING, PONG, client_frame, request, upgrade_headers

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
    """Stop the relay's process, let the peers do something, and let it go on."""
    relay._process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.1)
    await action()
    await asyncio.sleep(STOPPED)
    relay._process.send_signal(signal.SIGCONT)


async def test_healthy_peers_outlive_a_stop_of_the_relay() -> None:
    async with running_relay(intervals={"ping": 0.5, "pong": 1.0}) as relay:
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
    async with running_relay(intervals={"takeover_probe": 1.0}) as relay:
        incumbent, newcomer = await relay.binary(), await relay.binary()
        ping = await incumbent.frame()

        async def answer() -> None:
            incumbent.send(client_frame(ping.payload, PONG))

        await while_stopped(relay, answer)
        assert await newcomer.closed() == (4409, "server-id already claimed")


async def test_clients_in_mid_head_get_their_101() -> None:
    async with running_relay(intervals={"head": 1.5}) as relay:
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
    async with running_relay(intervals={"grace": 1.5}) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        await binary.close()
        await relay.until(lambda: relay.log_of("server_released"))

        await while_stopped(relay, nothing)
        again = await relay.binary()
        assert await phone.closed() == (4404, "binary reclaimed server-id")
        assert relay.value("grace_expiries_total") == 0
        await again.close()
