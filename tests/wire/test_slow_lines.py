"""Peers at the far end of a slow line, who read all the time: they live and lose nothing.

The line is a real one as far as TCP sees it, so what is acknowledged is what has arrived. How long
anything takes is not asserted: a test waits until the line has carried enough, then makes it fast.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from fastrelay.config.settings import Address
from tests.support.harness import SECURE, RunningRelay, running_relay
from tests.support.netns import OtherHost
from tests.support.peer import PING, PONG, TEXT, Peer, client_frame, open_peer

FRAME = b'"' + b"f" * 100_000 + b'"'
ANYWHERE = Address("0.0.0.0", 0)
RATE = 200_000
"""Bytes a second: a third of a send buffer takes longer than the write interval of the tests."""


@pytest.fixture(autouse=True, params=[False, True], ids=["plain", "tls"])
def secure(request: pytest.FixtureRequest) -> Iterator[None]:
    """Relays of this module serve without and with TLS."""
    token = SECURE.set(request.param)
    yield
    SECURE.reset(token)


async def far_peer(relay: RunningRelay, far: OtherHost, path: str) -> Peer:
    """A peer at the other host, which is reached without delay until it is joined."""
    headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1", "X-Pyrycode-Token": "t"}
    sock = await far.connect(relay.port)
    return relay.own(await open_peer(relay.port, path, headers, sock=sock, tls=relay.tls))


async def send_down(binary: Peer, phone: Peer, frames: int) -> None:
    """The binary sends the phone frames of 100 kB each."""
    phone.send_text("0")
    conn_id = (await binary.json())["conn_id"].encode()
    for _ in range(frames):
        binary.send_text(b'{"conn_id":"%b","frame":%b}' % (conn_id, FRAME))


async def nothing(number: int) -> None:
    """What happens beside what a test is about, by default."""


async def read_by(
    peer: Peer, far: OtherHost, count: int, beside: Callable[[int], Awaitable[None]]
) -> AsyncIterator[bytes]:
    """So many texts; the line is fast again when four have come. ``beside`` runs before each."""
    for number in range(count):
        if number == 4:  # at least four write intervals later
            far.speed_up()
        await beside(number)
        yield await peer.text()


async def gets_all_down(
    far: OtherHost,
    binary: Peer,
    phone: Peer,
    beside: Callable[[int], Awaitable[None]] = nothing,
) -> None:
    """On a line that is slow at first, a phone gets all that its binary sends."""
    far.slow_down(RATE)
    await send_down(binary, phone, 25)
    async for text in read_by(phone, far, 25, beside):
        assert text == FRAME


async def gets_all_up(
    far: OtherHost,
    phone: Peer,
    binary: Peer,
    beside: Callable[[int], Awaitable[None]] = nothing,
) -> None:
    """On a line that is slow at first, a binary gets all that its phone sends."""
    far.slow_down(RATE)
    for _ in range(40):
        phone.send_text(FRAME)
    async for text in read_by(binary, far, 40, beside):
        assert text.endswith(FRAME + b"}")


@pytest.mark.parametrize("buffer", [{}, {"phone_send_buffer": 0}], ids=["bounded", "kernel's"])
async def test_a_phone_gets_all_that_it_is_sent(far: OtherHost, buffer: dict[str, int]) -> None:
    intervals = {"write": 0.4}
    async with running_relay(intervals=intervals, limits=buffer, listen=ANYWHERE) as relay:
        binary, phone = await relay.binary(), await far_peer(relay, far, "/v1/client")
        await gets_all_down(far, binary, phone)


@pytest.mark.parametrize("buffer", [{}, {"binary_send_buffer": 0}], ids=["bounded", "kernel's"])
async def test_a_binary_gets_all_that_it_is_sent(far: OtherHost, buffer: dict[str, int]) -> None:
    intervals = {"write": 0.4}
    async with running_relay(intervals=intervals, limits=buffer, listen=ANYWHERE) as relay:
        binary, phone = await far_peer(relay, far, "/v1/server"), await relay.phone()
        await gets_all_up(far, phone, binary)


async def test_a_pong_passes_what_waits(far: OtherHost) -> None:
    """All but what the kernel holds, which is bounded."""
    async with running_relay(listen=ANYWHERE) as relay:
        binary, phone = await relay.binary(), await far_peer(relay, far, "/v1/client")
        far.slow_down(2 * RATE)
        await send_down(binary, phone, 35)
        down = {"direction": "binary_to_phone"}
        await relay.until(lambda: relay.value("frames_received_total", **down) == 35)
        phone.send(client_frame(b"now", PING))
        before = 0
        while (frame := await phone.frame()).opcode != PONG:
            assert frame.payload == FRAME
            before += 1
        assert frame.payload == b"now"
        assert before <= 10
        far.speed_up()
        for _ in range(35 - before):
            assert await phone.text() == FRAME


async def test_a_flooded_binary_keeps_its_server_id(far: OtherHost) -> None:
    """The ping of the probe is behind what the kernel holds, longer than one wait for its echo."""
    intervals = {"takeover_probe": 1.5}
    async with running_relay(intervals=intervals, listen=ANYWHERE) as relay:
        binary, stranger = await far_peer(relay, far, "/v1/server"), await relay.phone()
        flooding = asyncio.create_task(flood(stranger))
        far.slow_down(60_000)
        await relay.until(lambda: relay.is_full("s1"))
        echoing = asyncio.create_task(echo(binary))
        newcomer = await relay.binary()
        check = relay.relay.router._liveness_checks["s1"]
        await relay.until(lambda: check._waits > 1)
        far.speed_up()
        assert await newcomer.closed() == (4409, "server-id already claimed")
        for task in (flooding, echoing):
            task.cancel()
        await asyncio.gather(flooding, echoing, return_exceptions=True)


async def flood(phone: Peer) -> None:
    """Send as fast as it is taken."""
    while True:
        phone.send_text(FRAME)
        await phone.writer.drain()


async def echo(binary: Peer) -> None:
    """Read, and answer pings."""
    while True:
        frame = await binary.frame()
        if frame.opcode == PING:
            binary.send(client_frame(frame.payload, PONG))
        else:
            assert frame.opcode == TEXT
