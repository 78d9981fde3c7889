"""A WebSocket client that reads whatever comes, and tells how its connection ended."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final, TypeVar

from bench.support.client import Over, Refused
from bench.support.wire import CLOSE

_TAIL: Final = 2 + 125
"""Bytes of a whole close frame at most."""

_SEGMENT: Final = 1_400
"""Bytes of a TCP segment, as on the Internet."""

_NO_PORT_YET: Final = 24
"""IP_BIND_ADDRESS_NO_PORT, which the socket module has no name for before Python 3.12."""


class Peer(asyncio.Protocol):
    """One connection: upgraded by :meth:`upgrade`, or left as it is.

    Attributes:
        transport: what to write to.
        ended: close code and reason, ``eof`` without a close frame, or ``reset``; empty while
            the connection lives.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.ended = ""
        self.over = asyncio.Event()
        self._head: bytes | None = b""
        self._answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # those of uvloop inherit nothing

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = None
            if not self._answered.done():
                self._answered.set_result(int(head.split(b" ", 2)[1]))
        if not data:
            return
        self._tail = (self._tail + data)[-_TAIL:] if len(data) < _TAIL else data[-_TAIL:]
        self.take(data)

    def take(self, data: bytes) -> None:
        """What came (never empty) behind the response's head."""

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = "reset" if error is not None else "eof"
        if code := _last_close(self._tail):
            self.ended = code
        if not self._answered.done():
            self._answered.set_exception(Over(1006))
            self._answered.exception()  # a connection without an upgrade has no reader of it
        self.over.set()

    async def upgrade(self, hello: bytes) -> None:
        """Become a WebSocket.

        Raises:
            Refused: with the status.
            Over: hung up instead.
        """
        self.transport.write(hello)
        status = await self._answered
        if status != 101:
            raise Refused(status)

    def drop(self) -> None:
        """Hang up at once."""
        self.transport.abort()


P = TypeVar("P", bound=Peer)


def _last_close(tail: bytes) -> str:
    """Code and reason of the close frame that these bytes end with; empty without one."""
    for begin in range(len(tail) - 2, -1, -1):
        size = tail[begin + 1]
        if tail[begin] == 0x80 | CLOSE and begin + 2 + size == len(tail) and size != 1:
            code = int.from_bytes(tail[begin + 2 : begin + 4]) if size else 1005
            return f"{code} {tail[begin + 4 :].decode(errors='replace')}".rstrip()
    return ""


def unverified() -> ssl.SSLContext:
    """TLS that believes any certificate: these clients only ever dial loopback."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def socket_from(source: str, window: int = 0) -> socket.socket:
    """A socket that will dial from ``source``; ``window``: its receive buffer, 0 for the usual."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if window:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        # With loopback's segments of 64 KiB the relay's kernel would hold 2.6 MB for this peer.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
    # The port is then chosen for the whole connection, so that one port serves many of them.
    sock.setsockopt(socket.IPPROTO_IP, _NO_PORT_YET, 1)
    sock.bind((source, 0))
    return sock


async def dial(
    make: Callable[[], P], port: int, source: str, tls: ssl.SSLContext | None, window: int = 0
) -> P:
    """A connection that is not upgraded yet.

    Raises:
        OSError: there is none (:class:`ssl.SSLError` is one of these).
    """
    loop = asyncio.get_running_loop()
    sock = socket_from(source, window)
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
        name = None if tls is None else "127.0.0.1"
        _, peer = await loop.create_connection(make, sock=sock, ssl=tls, server_hostname=name)
    except BaseException:
        with contextlib.suppress(OSError):
            sock.close()
        raise
    return peer


async def join(
    make: Callable[[], P],
    port: int,
    source: str,
    tls: ssl.SSLContext | None,
    hello: bytes,
    window: int = 0,
) -> P:
    """An upgraded connection.

    Raises:
        OSError, Refused, Over: it was not upgraded.
    """
    peer = await dial(make, port, source, tls, window)
    try:
        await peer.upgrade(hello)
    except BaseException:
        peer.drop()
        raise
    return peer
