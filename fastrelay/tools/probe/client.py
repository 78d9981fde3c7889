"""The probe's WebSocket client: wsproto over asyncio streams, without any code of the relay.

The client sends what its caller asks for and returns what comes. It rejects bytes that violate HTTP
or RFC 6455; whether the relay should have sent something else is for the caller to decide.
"""

import asyncio
import contextlib
import re
import socket
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Final, Self

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import RemoteProtocolError

from fastrelay import __version__

USER_AGENT: Final = f"fastrelay-probe/{__version__}"

_READ_BYTES: Final = 64 * 1024

_MAX_BODY_BYTES: Final = 64 * 1024
"""The most bytes read of a plain response; that of ``/healthz`` has about a hundred."""

_EXCERPT_BYTES: Final = 80
"""The most bytes of a message that are shown."""

_HINTS: Final = {
    404: "is this the address of a relay, and does a proxy in front pass /v1/ and /healthz on?",
    421: "the relay serves one name only: use the one its --domain gives",
    503: "the relay has as many connections as it may (--max-connections, ...-per-ip)",
}


class Unexpected(Exception):
    """The relay did something else than what was expected.

    Attributes:
        got: what the relay did, in printable ASCII.
        hint: what the user can do about it; may be empty.
    """

    def __init__(self, got: str, hint: str = "") -> None:
        super().__init__(got)
        self.got = got
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a relay listens.

    Attributes:
        host: a host name, or an IP address without brackets; ASCII.
        port: the TCP port.
        tls: the TLS context; ``None`` for plain TCP.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @property
    def authority(self) -> str:
        """The value of the Host header: without the port if it is the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://{self.authority}"


@dataclass(frozen=True, slots=True)
class TextReceived:
    """A complete text message."""

    data: bytes

    def __str__(self) -> str:
        return self.shown()

    def shown(self, start: int = 0) -> str:
        """The length of the message, and an excerpt from byte ``start`` on."""
        place = f", from byte {start}" if start else ""
        rest = "..." if len(self.data) > start + _EXCERPT_BYTES else ""
        excerpt = self.data[start : start + _EXCERPT_BYTES]
        return f"text of {len(self.data)} bytes{place}: {excerpt!r}{rest}"


@dataclass(frozen=True, slots=True)
class BinaryReceived:
    """A complete binary message. Only its length is kept, because a relay sends none."""

    length: int

    def __str__(self) -> str:
        return f"a binary frame of {self.length} bytes"


@dataclass(frozen=True, slots=True)
class CloseReceived:
    """A close frame."""

    code: int
    reason: str = ""

    def __str__(self) -> str:
        return f"close {self.code} {self.reason!a}" if self.reason else f"close {self.code}"


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """The end of the TCP connection."""

    def __str__(self) -> str:
        return "the end of the connection"


Incoming = TextReceived | BinaryReceived | CloseReceived | ConnectionEnded


class WebSocket:
    """An open WebSocket, created by :meth:`connect`. It answers pings and close frames at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._events: deque[Event] = deque()

    @classmethod
    async def connect(cls, endpoint: Endpoint, path: str, headers: dict[str, str]) -> Self:
        """Open a TCP connection and upgrade it.

        Raises:
            Unexpected: the answer was not a valid 101.
            OSError: there was no answer.
        """
        websocket = cls(*await _connect(endpoint))
        sent = {"User-Agent": USER_AGENT} | headers
        extra = [(name.encode(), value.encode()) for name, value in sent.items()]
        try:
            await websocket._handshake(
                Request(host=endpoint.authority, target=path, extra_headers=extra)
            )
        except BaseException:
            await websocket.drop()
            raise
        return websocket

    async def _handshake(self, request: Request) -> None:
        self._writer.write(self._ws.send(request))
        try:
            event = await self._event()
        except (RemoteProtocolError, UnicodeDecodeError) as error:
            raise Unexpected(f"a broken handshake: {error}") from None
        if isinstance(event, RejectConnection):
            retry_after = dict(event.headers).get(b"retry-after", b"")
            raise unexpected_status(event.status_code, retry_after)
        if not isinstance(event, AcceptConnection):
            raise Unexpected(str(ConnectionEnded()))

    async def send(self, data: bytes) -> None:
        """Send ``data``, which must be UTF-8, as one text message.

        Raises:
            Unexpected: the relay has closed the connection.
            OSError: the connection is lost.
        """
        await self._send_event(TextMessage(data=data.decode()))

    async def close(self, code: int) -> None:
        """Send a close frame; :meth:`next` returns the answer.

        Raises:
            Unexpected, OSError: as in :meth:`send`.
        """
        await self._send_event(CloseConnection(code=code))

    async def _send_event(self, event: Event) -> None:
        if self._ws.state is not ConnectionState.OPEN:
            raise Unexpected(str(await self.next()))
        self._writer.write(self._ws.send(event))
        await self._writer.drain()

    async def next(self) -> Incoming:
        """The next complete message, the close frame, or the end of the connection.

        Raises:
            Unexpected: invalid bytes came, or bytes after the close frame.
            OSError: the connection was lost before the close handshake was complete.
        """
        parts: list[bytes] = []
        while True:
            event = await self._event()
            match event:
                case None:
                    return ConnectionEnded()
                case Ping() if self._ws.state is ConnectionState.OPEN:
                    self._writer.write(self._ws.send(event.response()))
                case CloseConnection():
                    return self._closed(event)
                case TextMessage():
                    parts.append(event.data.encode())
                    if event.message_finished:
                        return TextReceived(b"".join(parts))
                case BytesMessage():
                    parts.append(bytes(event.data))
                    if event.message_finished:
                        return BinaryReceived(sum(map(len, parts)))

    def _closed(self, event: CloseConnection) -> CloseReceived:
        if self._ws.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            # wsproto reports a protocol error as if the peer had sent a close frame.
            raise Unexpected(f"bytes that are no frame: {event.reason!a}")
        if self._ws.state is ConnectionState.REMOTE_CLOSING:
            self._writer.write(self._ws.send(event.response()))
        return CloseReceived(event.code, event.reason or "")

    async def _event(self) -> Event | None:
        """The next event of wsproto; ``None`` at the end of the connection."""
        while not self._events:
            closed = self._ws.state is ConnectionState.CLOSED
            try:
                data = await self._reader.read(_READ_BYTES)
            except ConnectionResetError:
                if not closed:
                    raise
                return None  # the close handshake is complete, so a reset does not matter
            if not data:
                return None
            if closed:
                raise Unexpected(f"{len(data)} bytes behind the close frame")
            self._ws.receive_data(data)
            self._events.extend(self._ws.events())
        return self._events.popleft()

    async def drop(self) -> None:
        """Abort the connection in any state."""
        await _drop(self._writer)


async def get(endpoint: Endpoint, path: str) -> tuple[int, bytes]:
    """The status and the body of ``GET path``, on a new connection.

    Raises:
        Unexpected: the answer is no valid HTTP, or has more than 64 KiB.
        OSError: there was no answer.
    """
    reader, writer = await _connect(endpoint)
    try:
        return await _get(reader, writer, endpoint.authority, path)
    except h11.RemoteProtocolError as error:
        raise Unexpected(f"a broken HTTP response: {str(error)!a}") from None
    finally:
        await _drop(writer)


async def _get(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, path: str
) -> tuple[int, bytes]:
    http = h11.Connection(h11.CLIENT)
    headers = [("Host", authority), ("User-Agent", USER_AGENT), ("Connection", "close")]
    writer.write(http.send(h11.Request(method="GET", target=path, headers=headers)) or b"")
    http.send(h11.EndOfMessage())
    status, body = 0, b""
    while True:
        event = http.next_event()
        match event:
            case h11.NEED_DATA:
                data = await reader.read(_READ_BYTES)
                if not data and not status:
                    raise Unexpected(str(ConnectionEnded()))
                http.receive_data(data)
            case h11.Response():
                status = event.status_code
            case h11.Data():
                body += event.data
                if len(body) > _MAX_BODY_BYTES:
                    raise Unexpected(f"HTTP {status} with more than {_MAX_BODY_BYTES} bytes")
            case h11.EndOfMessage():
                return status, body


def unexpected_status(status: int, retry_after: bytes = b"") -> Unexpected:
    """The exception for an unexpected HTTP status, with a hint for the user.

    Args:
        status: the status code.
        retry_after: the value of the Retry-After header, if there is one.
    """
    if status != 429:
        return Unexpected(f"HTTP {status}", _HINTS.get(status, ""))
    seconds = f"{int(retry_after)} s" if re.fullmatch(rb"\d{1,6}", retry_after) else "a while"
    return Unexpected(
        "HTTP 429: too many attempts to connect from this address",
        f"wait {seconds} or longer and probe less often; the relay's --upgrade-burst and"
        " --upgrade-refill say how much an address may do, and a run takes 4 attempts",
    )


async def _connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address of the host that accepts a connection.

    Raises:
        Unexpected: TLS failed.
        OSError: no address accepted a connection; the error of the last one.
    """
    addresses = await asyncio.get_running_loop().getaddrinfo(
        endpoint.host, endpoint.port, type=socket.SOCK_STREAM
    )
    last_error = OSError(f"{endpoint.host} has no address")
    name = endpoint.host if endpoint.tls else None
    for *_, address in addresses:
        try:
            return await asyncio.open_connection(
                str(address[0]), endpoint.port, ssl=endpoint.tls, server_hostname=name
            )
        except ssl.SSLCertVerificationError as error:
            got = f"a certificate that is not trusted: {error.verify_message}"
            raise Unexpected(got, "--ca-file FILE trusts a private CA") from None
        except ssl.SSLError as error:
            got = f"no TLS: {error.reason}"
            raise Unexpected(got, "ws:// checks a relay on plain HTTP") from None
        except OSError as error:
            last_error = error
    raise last_error


async def _drop(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
