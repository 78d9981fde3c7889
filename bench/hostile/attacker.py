"""One process of hostile connections: so many floods, redialled as a limiter would let them."""

import asyncio
import contextlib
import itertools
import os
import ssl
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bench.hostile.floods import FLOODS, Bytes
from bench.hostile.peer import Peer, dial, join, unverified
from bench.support.client import Over, Refused
from bench.support.wire import (
    PING,
    PONG,
    binary_handshake,
    client_frame,
    next_frame,
    phone_handshake,
)

_PATIENCE: Final = 10.0
_WAVE: Final = 32
"""Set up at once: few enough for any accept queue."""

_HIGH_WATER: Final = 64 * 1024
_SMALL_WINDOW: Final = 4096
_PLAIN_PAUSE: Final = 0.01
"""Seconds between two dials of one client of plain HTTP, which no limiter of upgrades looks at."""

_FAILURES: Final = (OSError, Refused, Over, TimeoutError)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one process attacks with.

    Attributes:
        flood: a name of :data:`bench.hostile.floods.FLOODS`.
        sources: addresses to dial from, in turn.
        redial_burst, redial_seconds: upgrades after set-up that may be tried at once, and the
            seconds until one more: what the relay's limiter would let this address do.
    """

    port: int
    tls: bool
    flood: str
    count: int
    sources: tuple[str, ...] = ("127.0.0.2",)
    redial_burst: float = 20.0
    redial_seconds: float = 6.0


class Sender(Peer):
    """Sends its bytes as fast as the socket takes them, and throws away what it hears.

    Attributes:
        sent: bytes handed to the socket or waiting for it.
        first: resolved with the first message heard.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._begun = b""
        self._again = b""
        self._full = False

    def take(self, data: bytes) -> None:
        if not self.sent and data[0] == 0x80 | PING:
            # Until it attacks it is alive: ten thousand may take minutes to connect.
            self.transport.write(client_frame(data[2 : 2 + data[1]], PONG))
        elif not self.first.done():
            self._take_first(data)

    def _take_first(self, data: bytes) -> None:
        self._begun += data
        if frame := next_frame(self._begun):
            self.first.set_result(self._begun[frame[1] : frame[2]])
            self._begun = b""

    def begin(self, what: Bytes) -> None:
        """Send, from now on, whatever the relay answers."""
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._again = what.again
        if what.first:
            self._write(what.first)
        self._push()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._push()

    def _push(self) -> None:
        if self._again and not self._full and not self.transport.is_closing():
            self._write(self._again)
            # Not in a loop: the other connections of this process want to send as well.
            asyncio.get_running_loop().call_soon(self._push)

    def _write(self, data: bytes) -> None:
        self.sent += len(data)
        self.transport.write(data)


class Post(NamedTuple):
    """One hostile connection, the peer that hears it if it has one, and what it sends."""

    sender: Sender
    companion: Sender | None
    what: Bytes


class Bucket:
    """How often this process may redial."""

    def __init__(self, burst: float, seconds: float) -> None:
        self._seconds = seconds
        self._ready = time.monotonic() - burst * seconds
        self._burst = burst

    async def take(self) -> None:
        """Wait for the next turn to dial."""
        now = time.monotonic()
        self._ready = max(self._ready, now - self._burst * self._seconds) + self._seconds
        await asyncio.sleep(self._ready - now)


class Attack:
    """The hostile connections of one process; a part of :mod:`bench.hostile.process`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._flood = FLOODS[plan.flood]
        self._tls: ssl.SSLContext | None = unverified() if plan.tls else None
        self._sources = itertools.cycle(plan.sources)
        self._numbers = itertools.count()
        self._bucket = Bucket(plan.redial_burst, plan.redial_seconds)
        self._blocks: dict[bytes, Bytes] = {}
        self._opened: list[Post] = []
        self._live: set[Post] = set()
        self._sent = 0
        self._ended: Counter[str] = Counter()
        self._answered: Counter[int] = Counter()
        self._unanswered = 0
        self._redials = 0

    async def set_up(self) -> None:
        """All connections, while the relay has nothing else to do.

        Raises:
            Refused, Over, OSError, TimeoutError: there is not even one.
        """
        failure: BaseException | None = None
        for begin in range(0, self._plan.count, _WAVE):
            wave = range(begin, min(begin + _WAVE, self._plan.count))
            found = await asyncio.gather(*(self._open() for _ in wave), return_exceptions=True)
            for one in found:
                if isinstance(one, BaseException):
                    failure = one
                else:
                    self._opened.append(one)
        if failure is not None and not self._opened:
            raise failure

    async def run(self, stop: asyncio.Event) -> None:
        """Attack until told to stop."""
        attacks = [asyncio.create_task(self._attack(post)) for post in self._opened]
        await stop.wait()
        for task in attacks:
            task.cancel()
        await asyncio.wait(attacks)
        for post in list(self._live):
            self._leave(post)

    def result(self) -> dict[str, Any]:
        """Counts; ``ended`` by close code, ``answered`` by status of the upgrade attempts."""
        return {
            "connected": len(self._opened),
            "sent": self._sent,
            "ended": dict(self._ended),
            "answered": dict(self._answered),
            "unanswered": self._unanswered,
            "redials": self._redials,
        }

    async def _attack(self, post: Post) -> None:
        """One hostile connection, and those that follow when the relay ends it."""
        while True:
            self._live.add(post)
            post.sender.begin(post.what)
            await post.sender.over.wait()
            self._leave(post)
            self._ended[post.sender.ended] += 1
            post = await self._again()

    def _leave(self, post: Post) -> None:
        self._live.remove(post)
        self._sent += post.sender.sent
        post.sender.drop()
        if post.companion is not None:
            post.companion.drop()

    async def _again(self) -> Post:
        while True:
            if self._flood.sender == "plain":
                await asyncio.sleep(_PLAIN_PAUSE)
            else:
                await self._bucket.take()
            self._redials += 1
            with contextlib.suppress(*_FAILURES):
                return await self._open()

    async def _open(self) -> Post:
        source = next(self._sources)
        async with asyncio.timeout(_PATIENCE):
            if self._flood.sender == "plain":
                sender = await dial(Sender, self._plan.port, source, self._tls)
                return Post(sender, None, self._block(b""))
            server_id = f"hostile-{os.getpid()}-{next(self._numbers)}"
            window = _SMALL_WINDOW if self._flood.deaf else 0
            binary = await self._join(binary_handshake(server_id), source, window)
            if not self._flood.paired:
                return Post(binary, None, self._block(b""))
            return await self._pair(server_id, source, binary)

    async def _pair(self, server_id: str, source: str, binary: Sender) -> Post:
        try:
            phone = await self._join(phone_handshake(server_id), source)
            phone.transport.write(client_frame(b"1"))
            conn_id = (await binary.first).split(b'"')[3]
        except BaseException:
            binary.drop()
            raise
        sender, other = (phone, binary) if self._flood.sender == "phone" else (binary, phone)
        if self._flood.deaf:
            other.transport.pause_reading()
        return Post(sender, other, self._block(conn_id))

    async def _join(self, hello: bytes, source: str, window: int = 0) -> Sender:
        try:
            sender = await join(Sender, self._plan.port, source, self._tls, hello, window)
        except Refused as refused:
            self._answered[refused.status] += 1
            raise
        except BaseException:
            self._unanswered += 1
            raise
        self._answered[101] += 1
        return sender

    def _block(self, conn_id: bytes) -> Bytes:
        """Made once where the bytes are the same for all: they may be many connections."""
        key = conn_id if self._flood.sender == "binary" else b""
        if key not in self._blocks:
            self._blocks[key] = self._flood.make(conn_id)
        return self._blocks[key]
