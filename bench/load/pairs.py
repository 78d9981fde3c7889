"""Phones and binaries on raw sockets; every frame they say, and must hear, is made beforehand.

What arrives is compared byte for byte with what must arrive.
"""

import json
import os
import socket
import ssl
from typing import NamedTuple

from bench.support.wire import (
    TEXT,
    binary_handshake,
    client_frame,
    header_size,
    next_frame,
    phone_handshake,
)


class Wrong(Exception):
    """What arrived is not what must arrive."""


_RECEIVED = memoryview(bytearray(256 * 1024))
"""Where every read goes: one buffer stays in the cache, and so do short expectations."""

_LEAST_EXPECTATION = 16 * 1024
_PATIENCE = 10.0
"""Seconds a connection may take to answer while it is set up."""


class Side:
    """One connection with what it must hear."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._secure = isinstance(sock, ssl.SSLSocket)
        self._size = 1
        self._expected = memoryview(b"")
        self._offset = 0
        self._unsent = memoryview(b"")

    def expect(self, frame: bytes) -> None:
        """From now on this frame must arrive, whole and again and again."""
        self._size = len(frame)
        self._expected = memoryview(frame * max(1, _LEAST_EXPECTATION // len(frame)))

    def heard(self) -> int:
        """Read what is there; how many frames that completed.

        Raises:
            Wrong: it is not what must arrive, or the relay hung up.
        """
        frames = self._hear()
        # TLS may hold more than a selector knows of.
        while self._secure and self.sock.pending():  # type: ignore[attr-defined]
            frames += self._hear()
        return frames

    def _hear(self) -> int:
        try:
            count = self.sock.recv_into(_RECEIVED)
        except (BlockingIOError, ssl.SSLWantReadError):
            return 0
        except ConnectionError as error:
            raise Wrong(f"the relay hung up: {error}") from None
        if not count:
            raise Wrong("the relay hung up")
        if not self._expected:
            raise Wrong(f"{bytes(_RECEIVED[: min(count, 80)])!r} where nothing must arrive")
        frames = (self._offset + count) // self._size
        seen = 0
        while seen < count:
            begin = self._offset
            step = min(count - seen, len(self._expected) - begin)
            if self._expected[begin : begin + step] != _RECEIVED[seen : seen + step]:
                raise Wrong(f"other bytes than {bytes(self._expected[:80])!r}")
            # Frames end at multiples of their size, also where the expectation begins anew.
            self._offset = (begin + step) % self._size
            seen += step
        return frames

    def say(self, data: bytes) -> bool:
        """Send ``data`` behind what waits; returns whether all went out."""
        self._unsent = memoryview(bytes(self._unsent) + data if self._unsent else data)
        return self.push()

    def push(self) -> bool:
        """Send what waits; returns whether that was all.

        Raises:
            Wrong: the relay hung up.
        """
        try:
            while self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except ConnectionError as error:
            raise Wrong(f"the relay hung up: {error}") from None
        return not self._unsent


class Line:
    """How connections are made: to a port, by TLS if there is something to verify it by."""

    def __init__(self, port: int, ca_file: str = "") -> None:
        self.address = ("127.0.0.1", port)
        self.tls = ssl.create_default_context(cafile=ca_file) if ca_file else None

    def dial(self, hello: bytes = b"") -> socket.socket:
        """A connection; upgraded by ``hello`` if that is not empty.

        Raises:
            Wrong: it was not upgraded.
        """
        sock = socket.create_connection(self.address, _PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is not None:
            sock = self.tls.wrap_socket(sock, server_hostname="127.0.0.1")
        if hello:
            sock.sendall(hello)
            upgraded(sock)
        return sock


def upgraded(sock: socket.socket) -> None:
    """Read a 101; what comes behind it is left alone.

    Raises:
        Wrong: it is no 101.
    """
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        head += byte
        if not byte:
            break
    if b" 101 " not in head[:20]:
        raise Wrong(f"no upgrade: {head!r}")


class Home(NamedTuple):
    """A binary and its phones, which have all spoken once, and what they say to each other.

    Attributes:
        message: what every phone says, and hears.
        envelopes: what the binary hears from each phone; sent back, it reaches that phone.
    """

    binary: Side
    phones: list[Side]
    message: bytes
    envelopes: list[bytes]

    def close(self) -> None:
        """Hang up."""
        for side in (self.binary, *self.phones):
            side.sock.close()


def through(line: Line, size: int, phones: int) -> Home:
    """A home through a relay, with messages of ``size`` bytes. Of several phones the binary may
    hear nothing more.

    Raises:
        Wrong: the first answer was not right.
    """
    server_id = f"bench-{os.urandom(6).hex()}"
    message = json_text(size)
    home = Home(Side(line.dial(binary_handshake(server_id))), [], message, [])
    for _ in range(phones):
        phone = Side(line.dial(phone_handshake(server_id)))
        phone.sock.sendall(client_frame(message))
        envelope = _read_frame(home.binary.sock)
        if json.loads(envelope)["frame"] != json.loads(message):
            raise Wrong(f"no envelope of the message: {envelope[:80]!r}")
        home.binary.sock.sendall(client_frame(envelope))
        if _read_frame(phone.sock) != message:
            raise Wrong("the first answer is another message")
        phone.expect(server_frame(message))
        home.phones.append(phone)
        home.envelopes.append(envelope)
    if phones == 1:
        home.binary.expect(server_frame(home.envelopes[0]))
    for side in (home.binary, *home.phones):
        side.sock.setblocking(False)
    return home


def over(line: Line, backend: socket.socket, size: int) -> Home:
    """The same bytes over a byte pipe, whose far end we are ourselves."""
    near = line.dial()
    near.sendall(b"?")
    far, _ = backend.accept()
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    far.recv(1)
    message = json_text(size)
    envelope = b'{"conn_id":"client-bench-00112233-00112233","frame":%b}' % message
    home = Home(Side(far), [Side(near)], message, [envelope])
    home.phones[0].expect(client_frame(envelope))  # a pipe takes no mask off
    home.binary.expect(client_frame(message))
    near.setblocking(False)
    far.setblocking(False)
    return home


def json_text(size: int) -> bytes:
    """A JSON string of ``size`` bytes; a digit if it is one byte."""
    return b'"%b"' % (b"x" * (size - 2)) if size > 1 else b"7"


def server_frame(payload: bytes) -> bytes:
    """A whole text frame as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


def _read_frame(sock: socket.socket) -> bytes:
    """The payload of the next frame, of a connection that sends no more than that."""
    data = b""
    while (frame := next_frame(data)) is None:
        more = sock.recv(65536)
        if not more:
            raise Wrong("hung up")
        data += more
    opcode, begin, end = frame
    if opcode != TEXT or begin != header_size(end - begin) or end != len(data):
        raise Wrong(f"not one text frame in its shortest form: {data[:80]!r}")
    return data[begin:end]
