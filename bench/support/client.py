"""A WebSocket client on asyncio streams, which can be told to break the rules."""

import asyncio
import contextlib
import socket
import ssl
from typing import Self

from bench.support.wire import CLOSE, PING, PONG, client_frame, next_frame

_CHUNK = 256 * 1024


class Refused(Exception):
    """The upgrade was answered with another status than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Over(Exception):
    """The connection has ended; ``code`` is that of the relay's close frame, or 1006."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._received = bytearray()

    @classmethod
    async def dial(
        cls,
        port: int,
        source: str = "127.0.0.1",
        window: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """Connect from ``source``; ``window``: bytes of receive buffer, 0 for the usual."""
        sock = socket.socket()
        try:
            if window:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            sock.setblocking(False)
            sock.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            name = None if tls is None else "127.0.0.1"
            streams = await asyncio.open_connection(
                sock=sock, limit=_CHUNK, ssl=tls, server_hostname=name
            )
            return cls(*streams)
        except BaseException:
            sock.close()
            raise

    async def upgrade(self, handshake: bytes) -> None:
        """Become a WebSocket.

        Raises:
            Refused: with the status.
            Over: hung up instead.
        """
        self.writer.write(handshake)
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Over(1006) from None
        status = int(head.split(b" ", 2)[1])
        if status != 101:
            raise Refused(status)

    async def ask(self, request: bytes) -> bytes:
        """The body of the answer to a plain request.

        Raises:
            asyncio.IncompleteReadError: hung up instead.
        """
        self.writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return await self._reader.readexactly(length)

    def send(self, payload: bytes) -> None:
        """Send a text message."""
        self.writer.write(client_frame(payload))

    async def message(self) -> bytes:
        """The next message; pings are answered on the way.

        Raises:
            Over: no more will come.
        """
        while True:
            frame = next_frame(self._received)
            if frame is None:
                await self._read()
                continue
            opcode, begin, end = frame
            payload = bytes(self._received[begin:end])
            del self._received[:end]
            if opcode == PING:
                self.writer.write(client_frame(payload, PONG))
            elif opcode == CLOSE:
                self.writer.write(client_frame(payload, CLOSE))
                raise Over(int.from_bytes(payload[:2]) if payload else 1005)
            elif opcode != PONG:
                return payload

    async def _read(self) -> None:
        try:
            data = await self._reader.read(_CHUNK)
        except ConnectionError:
            data = b""
        if not data:
            raise Over(1006)
        self._received += data

    def send_close(self, code: int) -> None:
        """Begin to close; the answer comes to :meth:`message`."""
        self.writer.write(client_frame(code.to_bytes(2), CLOSE))

    async def goodbye(self, code: int = 1000) -> None:
        """Close as one should, and wait for the answer."""
        self.send_close(code)
        await self.read_to_the_end()
        await self.drop()

    async def read_to_the_end(self) -> None:
        """Read until the connection is over, and answer pings meanwhile."""
        with contextlib.suppress(Over):
            while True:
                await self.message()

    async def drop(self, *, reset: bool = False) -> None:
        """Hang up; with a TCP reset if asked to."""
        if reset:
            sock = self.writer.get_extra_info("socket")
            linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
