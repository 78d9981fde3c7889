"""Servers that answer HTTP and WebSocket in ways that are meant to harm, for the tools."""

import asyncio
import base64
import contextlib
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + b'{"status":"ok"}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 1024 * 1024
MOST_SENT = 64 * MIB
"""Where an endless answer ends after all, so that no test fills the memory."""


class Conversation:
    """One connection.

    Attributes:
        path: the path of the request; empty if there was none.
        sent: the bytes that the other side has let it send.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.path = ""
        self.sent = 0
        self._key = b""

    async def receive_head(self) -> None:
        """Read a request's head."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.path = head.split()[1].decode()
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name.lower() == b"sec-websocket-key":
                self._key = value

    async def send(self, data: bytes) -> None:
        """Send ``data``, as fast as the other side takes it."""
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)

    async def send_endlessly(self, begin: bytes, again: bytes) -> None:
        """Send ``begin``, then ``again`` for ever."""
        await self.send(begin)
        piece = again * max(1, 16384 // len(again))
        while self.sent < MOST_SENT:
            await self.send(piece)

    async def dribble(self, begin: bytes) -> None:
        """Send ``begin``, then a byte now and then for ever."""
        await self.send(begin)
        while True:
            await self.send(b"x")
            await asyncio.sleep(0.02)

    async def upgrade(self) -> None:
        """Answer a WebSocket handshake as RFC 6455 asks."""
        digest = hashlib.sha1(self._key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        await self.send(head + b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n")

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.writer.transport.abort()


Answer = Callable[[Conversation], Awaitable[None]]


class BrokenServer:
    """A running server.

    Attributes:
        port: where it listens.
        sent: the most bytes sent on one connection.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.sent = 0


@asynccontextmanager
async def broken_server(
    answer: Answer, tls: ssl.SSLContext | None = None, *, reads_head: bool = True
) -> AsyncIterator[BrokenServer]:
    """A server that gives ``answer`` to every request, or to every connection at once."""
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        conversation = Conversation(reader, writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if reads_head:
                    await conversation.receive_head()
                await answer(conversation)
                await reader.read()  # until the other side has gone
        finally:
            running.sent = max(running.sent, conversation.sent)
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    running = BrokenServer(server.sockets[0].getsockname()[1])
    try:
        async with server:
            yield running
    finally:
        while tasks:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def raw(data: bytes) -> Answer:
    """Exactly ``data``, and the end of the connection."""

    async def answer(conversation: Conversation) -> None:
        await conversation.send(data)
        conversation.writer.close()

    return answer


def endless(begin: bytes, again: bytes) -> Answer:
    """``begin``, then ``again`` for ever."""
    return lambda conversation: conversation.send_endlessly(begin, again)


def healthy_then(answer: Answer) -> Answer:
    """A good answer to ``/healthz``, good upgrades, and then ``answer`` to the binary."""

    async def converse(conversation: Conversation) -> None:
        if conversation.path == "/healthz":
            await conversation.send(HEALTHY)
            return
        await conversation.upgrade()
        if conversation.path == "/v1/server":
            await answer(conversation)

    return converse
