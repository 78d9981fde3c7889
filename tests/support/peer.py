"""A raw WebSocket client for tests: says exactly what it is told, sees exactly what comes.

Frames from the relay are decoded by wsproto's frame protocol, frames to it are built by hand.
"""

import asyncio
import base64
import contextlib
import json
import os
import socket
import ssl
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Self

import h11
from wsproto.frame_protocol import FrameDecoder

TIMEOUT = 40.0
"""Seconds until a test gives up waiting for something that should come at once; far longer than it
takes on a machine that does much else."""

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def mask(payload: bytes, key: bytes) -> bytes:
    """XOR with a 4-byte key, the plain way."""
    if not payload:
        return b""
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload) ^ int.from_bytes(repeated)
    return number.to_bytes(len(payload))


def client_frame(
    payload: bytes,
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    key: bytes = b"\x12\x34\x56\x78",
) -> bytes:
    """One frame from client to server."""
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    flag = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += struct.pack("!BH", flag | 126, size)
    else:
        head += struct.pack("!BQ", flag | 127, size)
    return head + (key + mask(payload, key) if masked else payload)


def close_payload(code: int, reason: str = "") -> bytes:
    """The body of a close frame."""
    return struct.pack("!H", code) + reason.encode()


@dataclass(repr=False)
class Frame:
    """A frame from the relay."""

    opcode: int
    payload: bytes
    fin: bool

    def __repr__(self) -> str:
        return f"<{self.opcode!r} fin={self.fin} {self.payload[:60]!r} of {len(self.payload)}>"


def request(path: str, headers: dict[str, str] | None = None, method: str = "GET") -> bytes:
    """A request head with exactly these headers, and a Host if none is given."""
    headers = {"Host": "localhost"} | (headers or {})
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def upgrade_headers(headers: dict[str, str] | None = None) -> dict[str, str]:
    """The headers of a good handshake, and ``headers``."""
    return {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "User-Agent": "test/1",
    } | (headers or {})


class FrameReader:
    """What comes from the relay, as whole frames; wsproto checks that they are well formed."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder(client=True)
        self._opcode: int | None = None
        self._payload = bytearray()

    def receive(self, data: bytes) -> None:
        """Take what was read."""
        self._decoder.receive_bytes(data)

    def next(self) -> Frame | None:
        """The next frame, control frames included; ``None`` until it is whole."""
        while (piece := self._decoder.process_buffer()) is not None:
            self._payload += piece.payload
            # A frame comes in pieces, of which only the first says what it is.
            if self._opcode is None:
                self._opcode = piece.opcode
            if piece.frame_finished:
                frame = Frame(self._opcode, bytes(self._payload), piece.message_finished)
                self._opcode, self._payload = None, bytearray()
                return frame
        return None


class HttpClient:
    """A TCP connection that speaks HTTP."""

    left_open: ClassVar[set["HttpClient"]] = set()
    """Those that nobody has closed. A test must end with none: the collector would close them, at a
    moment of its own choosing, which is some other test's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.left_open.add(self)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """Read one response: status, headers (lower case), body."""
        async with asyncio.timeout(TIMEOUT):
            parser = h11.Connection(h11.CLIENT)
            headers_sent = [("Host", "x"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
            parser.send(h11.Request(method=method, target="/", headers=headers_sent))
            parser.send(h11.EndOfMessage())
            head = await self.reader.readuntil(b"\r\n\r\n")
            parser.receive_data(head)
            event = parser.next_event()
            assert isinstance(event, h11.Response | h11.InformationalResponse)
            headers = {k.decode(): v.decode() for k, v in event.headers}
            length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
            return event.status_code, headers, await self.reader.readexactly(length)

    async def at_eof(self) -> bool:
        """Whether the relay says nothing more and hangs up."""
        async with asyncio.timeout(TIMEOUT):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True

    def stop_reading(self) -> None:
        """Leave what comes in the socket."""
        self.writer.transport.pause_reading()

    def read_on(self) -> None:
        """Read again."""
        self.writer.transport.resume_reading()

    async def close(self) -> None:
        """Drop the connection."""
        self.left_open.discard(self)
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def port_of(client: HttpClient) -> int:
    """The port at this end of a connection."""
    port: int = client.writer.get_extra_info("sockname")[1]
    return port


class Peer(HttpClient):
    """An upgraded connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._incoming = FrameReader()

    def send_text(self, text: str | bytes) -> None:
        """Send a whole text message."""
        self.send(client_frame(text.encode() if isinstance(text, str) else text))

    def send_json(self, value: Any) -> None:
        """Send a value as JSON."""
        self.send_text(json.dumps(value))

    async def frame(self) -> Frame:
        """The next frame, control frames included."""
        async with asyncio.timeout(TIMEOUT):
            while (frame := self._incoming.next()) is None:
                data = await self.reader.read(65536)
                if not data:
                    raise ConnectionError("the relay hung up")
                self._incoming.receive(data)
            return frame

    async def text(self) -> bytes:
        """The payload of the next frame, which must be a whole text message."""
        frame = await self.frame()
        assert (frame.opcode, frame.fin) == (TEXT, True), frame
        return frame.payload

    async def json(self) -> Any:
        """The next text message as JSON."""
        return json.loads(await self.text())

    async def closed(self, *, answer: bool = True) -> tuple[int | None, str]:
        """Code and reason of the next frame, which must be a close; answers it with the same."""
        frame = await self.frame()
        assert frame.opcode == CLOSE, frame
        if answer:
            self.send(client_frame(frame.payload, CLOSE))
        if not frame.payload:
            return None, ""
        return struct.unpack("!H", frame.payload[:2])[0], frame.payload[2:].decode()

    async def say_goodbye(self, code: int = 1000) -> None:
        """Close from this side, and wait until the relay has answered and hung up."""
        self.send(client_frame(close_payload(code), CLOSE))
        assert await self.closed(answer=False) == (code, "")
        assert await self.at_eof()
        await self.close()


async def open_http(
    port: int,
    tls: ssl.SSLContext | None = None,
    *,
    window: int = 0,
    sock: socket.socket | None = None,
) -> HttpClient:
    """A connection to a relay, by TLS if there is a context; the rest as of :func:`open_peer`."""
    return HttpClient(*await _open_streams("127.0.0.1", port, tls, window, sock))


async def _open_streams(
    host: str, port: int, tls: ssl.SSLContext | None, window: int, sock: socket.socket | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    dialled = sock or socket.socket()
    try:
        if sock is None:
            if window:
                dialled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            dialled.setblocking(False)
            await asyncio.get_running_loop().sock_connect(dialled, (host, port))
        return await asyncio.open_connection(
            sock=dialled, limit=2**20, ssl=tls, server_hostname=host if tls else None
        )
    except BaseException:  # a task that is cancelled while it dials, too
        dialled.close()
        raise


async def open_peer(
    port: int,
    path: str,
    headers: dict[str, str],
    *,
    window: int = 0,
    host: str = "127.0.0.1",
    sock: socket.socket | None = None,
    tls: ssl.SSLContext | None = None,
) -> Peer:
    """Upgrade a connection; the handshake must succeed.

    ``window``: bytes of receive buffer; a small one lets the relay feel soon that we do not read.
    ``sock``: connected already. ``tls``: speak TLS, with ``host`` as the name.
    """
    peer = Peer(*await _open_streams(host, port, tls, window, sock))
    try:
        peer.send(request(path, upgrade_headers(headers)))
        status, _, _ = await peer.response()
        assert status == 101
    except BaseException:
        await peer.close()
        raise
    return peer
