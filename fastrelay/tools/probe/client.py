"""The probe's WebSocket client: wsproto over asyncio streams, without any code of the relay.

The client sends what its caller asks for and returns what comes. It rejects bytes that violate HTTP
or RFC 6455; whether the relay should have sent something else is for the caller to decide.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, Self

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
from fastrelay.tools.probe.hints import unexpected_status
from fastrelay.tools.support.connection import Unexpected, connect, drop
from fastrelay.tools.support.endpoint import Endpoint

USER_AGENT: Final = f"fastrelay-probe/{__version__}"

_READ_BYTES: Final = 4096
"""Small, because frames without content take some 10 µs for two bytes, and time-outs wait."""

_MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""The most bytes of one message that are kept; the probe sends messages of a fifth of that."""

_EXCERPT_BYTES: Final = 80
"""The most bytes of a message that are shown."""


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
        websocket = cls(*await connect(endpoint))
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
            raise unexpected_status(event.status_code, dict(event.headers))
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
        message = bytearray()
        while True:
            event = await self._event()
            match event:
                case None:
                    return ConnectionEnded()
                case Ping() if self._ws.state is ConnectionState.OPEN:
                    self._writer.write(self._ws.send(event.response()))
                    await self._writer.drain()  # a server that reads no pongs gets no more of them
                case CloseConnection():
                    return self._closed(event)
                case TextMessage() | BytesMessage():
                    message += event.data.encode() if isinstance(event.data, str) else event.data
                    if len(message) > _MAX_MESSAGE_BYTES:
                        raise Unexpected(f"a message of more than {_MAX_MESSAGE_BYTES} bytes")
                    if event.message_finished:
                        if isinstance(event, BytesMessage):
                            return BinaryReceived(len(message))
                        return TextReceived(bytes(message))

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
            if len(data) == _READ_BYTES:
                await asyncio.sleep(0)  # more may be there already, and reading that is no wait
        return self._events.popleft()

    async def drop(self) -> None:
        """Abort the connection in any state."""
        await drop(self._writer)
