"""A peer whose TLS records are made by hand, on asyncio's streams, beside the tests' own relay.

It is a :class:`Peer`: what it sends with ``send`` and its like goes out as well-formed records, and
what comes is read as from any other peer. Beside that it sends any bytes it is told to.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, cast

from tests.support.harness import RunningRelay
from tests.support.peer import TIMEOUT, Peer, _open_streams, request, upgrade_headers
from tests.support.record_session import Session, session

VERSIONS = ("1.2", "1.3")
SIDES = ("phone", "binary")


class PlainReader:
    """What a session's application data looks like to who reads a stream."""

    def __init__(self, wire: asyncio.StreamReader, heard: Session) -> None:
        self.wire = wire
        self._session = heard

    async def more(self) -> bool:
        """Read once from the wire; whether there was anything."""
        data = await self.wire.read(65536)
        self._session.receive(data)
        return bool(data)

    async def read(self, count: int = -1) -> bytes:
        """Like a stream's."""
        plain = self._session.plain
        while (count < 0 or not plain) and await self.more():
            pass
        return self._taken(len(plain) if count < 0 else min(count, len(plain)))

    async def readexactly(self, count: int) -> bytes:
        """Like a stream's."""
        while len(self._session.plain) < count:
            if not await self.more():
                raise asyncio.IncompleteReadError(bytes(self._session.plain), count)
        return self._taken(count)

    async def readuntil(self, separator: bytes) -> bytes:
        """Like a stream's."""
        plain = self._session.plain
        while (at := plain.find(separator)) < 0:
            if not await self.more():
                raise asyncio.IncompleteReadError(bytes(plain), None)
        return self._taken(at + len(separator))

    def _taken(self, count: int) -> bytes:
        taken = bytes(self._session.plain[:count])
        del self._session.plain[:count]
        return taken


class RecordPeer(Peer):
    """A peer with its TLS session in reach.

    Attributes:
        tls: makes the records and keeps what came beside application data.
    """

    def __init__(self, wire: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: Any) -> None:
        self.tls = tls
        self.plain_reader = PlainReader(wire, tls)
        super().__init__(cast("asyncio.StreamReader", self.plain_reader), writer)

    def send(self, data: bytes) -> None:
        self.send_raw(self.tls.application(data))

    def send_raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)

    async def send_slowly(self, pieces: Iterable[bytes]) -> None:
        """Bytes as they are, each piece after the relay had a turn to read the one before.

        Ends early if the relay hangs up meanwhile.
        """
        for piece in pieces:
            if self.writer.transport.is_closing():
                return
            self.send_raw(piece)
            with contextlib.suppress(ConnectionError):
                await self.writer.drain()
            await asyncio.sleep(0)

    def send_record(self, content_type: int, data: bytes, **how: Any) -> None:
        """One record; ``how`` as of :meth:`Session.record`."""
        self.send_raw(self.tls.record(content_type, data, **how))

    async def shake_hands(self) -> None:
        """Do the handshake."""
        self.send_raw(self.tls.begin())
        async with asyncio.timeout(TIMEOUT):
            while not self.tls.done:
                answer = self.tls.receive(await self._wire_data())
                self.send_raw(answer)

    async def _wire_data(self) -> bytes:
        data = await self.plain_reader.wire.read(65536)
        if not data:
            raise ConnectionError("the relay hung up")
        return data

    async def heard(self, condition: Any) -> None:
        """Read until ``condition(session)`` is true; what else comes stays to be read."""
        async with asyncio.timeout(TIMEOUT):
            while not condition(self.tls):
                self.tls.receive(await self._wire_data())

    async def hung_up(self) -> None:
        """Read until the relay ends the connection, in whatever way."""
        async with asyncio.timeout(TIMEOUT):
            with contextlib.suppress(ConnectionError):
                while await self.plain_reader.more():
                    pass

    async def upgrade(self, path: str, headers: dict[str, str]) -> None:
        """Upgrade; must succeed."""
        self.send(request(path, upgrade_headers(headers)))
        status, _, _ = await self.response()
        assert status == 101


async def dial(port: int, version: str, *, window: int = 0) -> RecordPeer:
    """A peer that has shaken hands; ``window`` as of :func:`open_peer`."""
    peer = RecordPeer(*await _open_streams("127.0.0.1", port, None, window), session(version))
    try:
        await peer.shake_hands()
    except BaseException:
        await peer.close()
        raise
    return peer


async def join(
    relay: RunningRelay, side: str, version: str, server_id: str, *, window: int = 0
) -> RecordPeer:
    """A phone or a binary on a server-id; the relay closes it with the test's others."""
    relay.attempts += 1
    peer = relay.own(await dial(relay.port, version, window=window))
    own = {"phone": {"X-Pyrycode-Token": "t"}, "binary": {"X-Pyrycode-Version": "1"}}[side]
    path = {"phone": "/v1/client", "binary": "/v1/server"}[side]
    await peer.upgrade(path, {"X-Pyrycode-Server": server_id, **own})
    return peer
