"""Peers that hurt, one act each. An act is bounded in time and in what it sends."""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from bench.hostile.attackers import flood_for
from bench.soak.tally import Tally
from bench.support.client import Client, Over, Refused
from bench.support.wire import (
    binary_handshake,
    client_frame,
    handshake,
    phone_handshake,
)

_NUMBERS = itertools.count()
_SMALL_WINDOW = 4096
_LARGE = client_frame(b'"' + b"z" * 250_000 + b'"')
SOURCE = "127.0.0.66"
"""Hostile peers come from an address of their own, so that limits per address hit them alone."""


class Enemy:
    """Knows the relay's port and counts its attempts."""

    def __init__(self, port: int, tally: Tally) -> None:
        self.port = port
        self._tally = tally

    async def open(self, hello: bytes, window: int = 0) -> Client:
        """An upgraded connection.

        Raises:
            Refused, Over: it was not.
        """
        client = await Client.dial(self.port, SOURCE, window)
        try:
            await client.upgrade(hello)
        except Refused as refused:
            self._tally.answered[refused.status] += 1
            await client.drop()
            raise
        except Over:
            self._tally.unanswered += 1
            await client.drop()
            raise
        self._tally.answered[101] += 1
        return client

    async def plain(self, data: bytes) -> Client:
        """A connection that has sent ``data`` and is no WebSocket."""
        client = await Client.dial(self.port, SOURCE)
        client.writer.write(data)
        return client

    @contextlib.asynccontextmanager
    async def pair(
        self, window: int = 0, server_id: str = ""
    ) -> AsyncIterator[tuple[Client, Client, bytes]]:
        """A daemon, a phone of its own with that receive window, and the phone's conn_id.

        Both are dropped at the end.
        """
        server_id = server_id or f"enemy-{next(_NUMBERS)}"
        async with contextlib.AsyncExitStack() as stack:
            daemon = await self.open(binary_handshake(server_id))
            stack.push_async_callback(daemon.drop)
            phone = await self.open(phone_handshake(server_id), window)
            stack.push_async_callback(phone.drop)
            phone.send(b"1")
            envelope = await daemon.message()
            yield daemon, phone, envelope.split(b'"')[3]

    async def flood(self, name: str, seconds: float, count: int) -> None:
        """So many connections of a flood of :mod:`bench.hostile`, from processes of their own.

        Raises:
            Failed: they did not get in, or have ended.
        """
        found = await asyncio.to_thread(flood_for, self.port, name, seconds, count)
        self._tally.answered.update(found["answered"])
        self._tally.unanswered += found["unanswered"]

    def gave_up(self) -> None:
        """An attempt whose answer was not waited for."""
        self._tally.unanswered += 1


Act = Callable[[Enemy], Awaitable[None]]


async def stops_reading(enemy: Enemy) -> None:
    async with enemy.pair(_SMALL_WINDOW) as (daemon, _, conn_id):
        frame = client_frame(b'{"conn_id":"%b","frame":"%b"}' % (conn_id, b"y" * 60_000))
        for _ in range(150):  # 9 MB, more than a phone's budget
            daemon.writer.write(frame)
            with contextlib.suppress(ConnectionError):
                await daemon.writer.drain()
        await asyncio.sleep(0.2)


async def daemon_stops_reading(enemy: Enemy) -> None:
    server_id = f"enemy-{next(_NUMBERS)}"
    daemon = await enemy.open(binary_handshake(server_id), _SMALL_WINDOW)
    phones = [await enemy.open(phone_handshake(server_id)) for _ in range(4)]
    for phone in phones:
        for _ in range(20):
            phone.writer.write(_LARGE)
    await asyncio.sleep(0.5)
    for client in (*phones, daemon):
        await client.drop()


async def byte_by_byte(enemy: Enemy) -> None:
    async with enemy.pair() as (_, phone, _):
        for byte in client_frame(b'"slow"')[:-1]:
            phone.writer.write(bytes((byte,)))
            await asyncio.sleep(0.1)


async def resets_in_a_frame(enemy: Enemy) -> None:
    async with enemy.pair() as (daemon, phone, _):
        phone.writer.write(_LARGE[: len(_LARGE) // 2])
        await asyncio.sleep(0.01)
        await phone.drop(reset=True)
        await daemon.drop(reset=True)


async def closes_half(enemy: Enemy) -> None:
    async with enemy.pair() as (daemon, phone, _):
        for client in (phone, daemon):
            client.writer.write_eof()
            await client.read_to_the_end()
            await client.drop()


async def falls_silent(enemy: Enemy) -> None:
    """Answers no ping; outlives a heartbeat if the run is long enough."""
    async with enemy.pair():
        await asyncio.sleep(65)


async def slow_head(enemy: Enemy) -> None:
    client = await enemy.plain(b"GET /v1/server HTTP/1.1\r\n")
    for _ in range(20):
        client.writer.write(b"X: y\r\n")
        await asyncio.sleep(0.1)
    await client.drop()


async def garbage(enemy: Enemy) -> None:
    for data in (b"\x16\x03\x01" + b"\xff" * 5000, b"GET " * 9000, b"\0" * 100, b"\r\n" * 500):
        client = await enemy.plain(data)
        await asyncio.sleep(0.02)
        await client.drop()


async def breaks_the_protocol(enemy: Enemy) -> None:
    for data in (b"\x81\x01a", b"\xf1\x80\0\0\0\0", client_frame(b"\xff"), client_frame(b"{")):
        async with enemy.pair() as (_, phone, _):
            phone.writer.write(data)
            with contextlib.suppress(Over):
                await phone.message()


async def floods_small_frames(enemy: Enemy) -> None:
    async with enemy.pair() as (daemon, phone, _):
        phone.writer.write(client_frame(b"1") * 20_000)
        for _ in range(20_000):
            await daemon.message()


async def floods_large_frames(enemy: Enemy) -> None:
    async with enemy.pair() as (daemon, phone, _):
        for _ in range(40):
            phone.writer.write(_LARGE)
            await daemon.message()


async def daemon_comes_back(enemy: Enemy) -> None:
    """Within grace: the phone of the old one is evicted, and one of the new one is not."""
    server_id = f"enemy-{next(_NUMBERS)}"
    async with enemy.pair(server_id=server_id) as (old, phone, _):
        await old.drop()
        await asyncio.sleep(0.05)
        async with enemy.pair(server_id=server_id):
            with contextlib.suppress(Over):
                await phone.message()


async def daemon_stays_away(enemy: Enemy) -> None:
    """Its phone is closed when grace is over, if the run is long enough."""
    async with enemy.pair() as (daemon, phone, _):
        await daemon.drop()
        with contextlib.suppress(Over):
            async with asyncio.timeout(40):
                await phone.message()


async def contests_a_server_id(enemy: Enemy) -> None:
    server_id = f"enemy-{next(_NUMBERS)}"
    first = await enemy.open(binary_handshake(server_id))
    answering = asyncio.create_task(first.read_to_the_end())
    second = await enemy.open(binary_handshake(server_id))
    with contextlib.suppress(Over):
        await second.message()
    await second.drop()
    await first.drop()
    await asyncio.wait({answering})


async def comes_and_goes(enemy: Enemy) -> None:
    for _ in range(20):
        clients = [await enemy.plain(phone_handshake("nobody")) for _ in range(10)]
        for client in clients:
            enemy.gave_up()
            await client.drop()


async def is_refused(enemy: Enemy) -> None:
    for hello in (
        handshake("/v1/server"),
        handshake("/v1/client", X_Pyrycode_Server="a"),
        phone_handshake("nobody"),
    ):
        for _ in range(10):
            with contextlib.suppress(Refused, Over):
                client = await enemy.open(hello)
                with contextlib.suppress(Over):
                    await client.message()
                await client.drop()


async def floods_at_full_speed(enemy: Enemy) -> None:
    for name in ("pings", "alternation"):
        await enemy.flood(name, seconds=2.0, count=4)


QUICK: tuple[Act, ...] = (
    stops_reading,
    daemon_stops_reading,
    byte_by_byte,
    resets_in_a_frame,
    closes_half,
    slow_head,
    garbage,
    breaks_the_protocol,
    floods_small_frames,
    floods_large_frames,
    daemon_comes_back,
    contests_a_server_id,
    comes_and_goes,
    is_refused,
    floods_at_full_speed,
)
"""Acts that are over within seconds; they take turns."""

SLOW: tuple[Act, ...] = (falls_silent, daemon_stays_away)
"""Acts that wait for the relay's own timeouts; they run beside the others."""


async def act_in_turn(
    acts: Sequence[Act], enemy: Enemy, tally: Tally, deadline: float = math.inf
) -> None:
    """Perform the acts again and again and count each, until ``deadline`` of the monotonic clock.

    That the relay ends an act early is not its failure.
    """
    for act in itertools.cycle(acts):
        if time.monotonic() >= deadline:
            return
        with contextlib.suppress(Refused, Over, ConnectionError):
            await act(enemy)
        tally.injected[act.__name__] += 1
        await asyncio.sleep(0.05)
