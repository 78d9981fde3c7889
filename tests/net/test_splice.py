"""A splice between a TLS connection and its owner: what is held of each direction, and how long."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from fastrelay.config.settings import Intervals
from fastrelay.loop.fair_reads import FIRST_QUOTA, FairScheduler
from fastrelay.loop.newcomers import Newcomers
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.sockets import bound_send_buffer
from fastrelay.net.splice import OuterEnd, Splices, splice_pair
from fastrelay.net.tls.buffers import TlsBuffers
from fastrelay.net.tls.layer import TlsLayer
from fastrelay.policy.held_bytes import HeldBytes
from fastrelay.policy.shared.endings import PLACES, SharedEndings
from tests.support.certificates import authority
from tests.support.peer import TIMEOUT
from tests.support.tls_ends import certificates

LOTS = os.urandom(4 * 1024 * 1024)
"""More than the kernel takes for those who do not read."""

RECORDS = 512
"""What TLS adds to one read."""


class Spliced(NamedTuple):
    """A peer, and the owner's end of the pair."""

    layer: TlsLayer
    end: OuterEnd
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    owner: socket.socket

    @property
    def held(self) -> tuple[int, int]:
        """Bytes in this process, for the owner and for the peer."""
        inner: Any = self.end._inner
        return inner._transport.get_write_buffer_size(), self.layer.get_write_buffer_size()


class BeforeTheSplice(asyncio.Protocol):
    """Reads the first bytes of a peer, then no more."""

    def __init__(self) -> None:
        self.spoken = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.layer: TlsLayer = transport

    def data_received(self, data: bytes) -> None:
        self.layer.pause_reading()
        self.spoken.set()


@asynccontextmanager
async def spliced() -> AsyncIterator[Spliced]:
    """A peer that has shaken hands and is spliced with its owner."""
    loop = asyncio.get_running_loop()
    wheel, scheduler = TimerWheel(loop, 0.005), FairScheduler()
    newcomers = Newcomers(Intervals().newcomers, loop.call_soon)
    buffers = TlsBuffers(wheel, 1000.0, newcomers, lambda _: True, lambda *_: None, scheduler)
    splices = Splices(wheel, scheduler, HeldBytes(1 << 30), 1000.0)
    before = BeforeTheSplice()
    server = await loop.create_server(
        lambda: TlsLayer(before, certificates(), buffers, "192.0.2.1"), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(
        *server.sockets[0].getsockname(), ssl=authority().client, limit=1
    )
    writer.write(b"hello")
    await before.spoken.wait()
    inner, owner = splice_pair()
    rows = [[0] * PLACES, [0] * PLACES]
    bound_send_buffer(before.layer.get_extra_info("socket"), 65536)  # as the owner does
    splices.join(before.layer, inner, SharedEndings(rows, 0).of(1, 1), "192.0.2.1", "s1")
    (end,) = splices
    try:
        async with asyncio.timeout(TIMEOUT):
            while splices._joining:
                await asyncio.sleep(0)
            yield Spliced(before.layer, end, reader, writer, owner)
    finally:
        writer.transport.abort()
        before.layer.abort()
        owner.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)
        wheel.close()


async def some_turns() -> None:
    """Let both sides do what they can: much longer than bytes take through a loop."""
    for _ in range(50):
        await asyncio.sleep(0.001)


async def test_of_a_flood_for_an_owner_that_does_not_read_one_read_is_held() -> None:
    async with spliced() as ends:
        ends.writer.write(LOTS)
        while not ends.held[0]:
            await asyncio.sleep(0.001)
        await some_turns()
        assert ends.held[0] <= FIRST_QUOTA  # it may have gone meanwhile
        arrived = bytearray()
        while len(arrived) < len(LOTS):
            assert ends.held[0] <= FIRST_QUOTA
            try:
                arrived += ends.owner.recv(1 << 20)
            except BlockingIOError:
                await asyncio.sleep(0)
        assert hash(bytes(arrived)) == hash(LOTS)  # a difference of megabytes takes long to show


async def test_of_a_flood_for_a_peer_that_does_not_read_one_read_is_held() -> None:
    async with spliced() as ends:
        loop = asyncio.get_running_loop()
        sending = loop.create_task(loop.sock_sendall(ends.owner, LOTS))
        while not ends.held[1]:
            await asyncio.sleep(0.001)
        await some_turns()
        assert ends.held[1] <= FIRST_QUOTA + RECORDS  # it may have gone meanwhile
        arrived = bytearray()
        while len(arrived) < len(LOTS):
            assert ends.held[1] <= FIRST_QUOTA + RECORDS
            arrived += await ends.reader.read(1 << 20)
        assert hash(bytes(arrived)) == hash(LOTS)  # a difference of megabytes takes long to show
        await sending
