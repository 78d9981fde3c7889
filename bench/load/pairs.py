"""Phones and binaries on raw sockets, one of each per server-id; every frame is made beforehand.

A phone sends a message, its binary answers with an envelope that returns the same message, the
phone gets it back: a round trip, two relayed frames. What arrives is compared byte for byte with
what must arrive.
"""

import os
import socket
import ssl
from typing import Self

from bench.support.wire import (
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


class Side:
    """One connection with what it says and what it must hear.

    Attributes:
        says: bytes of one message on its way out.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.says = b""
        self.peer: Side
        self._size = 0
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
        try:
            count = self.sock.recv_into(_RECEIVED)
        except (BlockingIOError, ssl.SSLWantReadError):
            return 0
        if not count:
            raise Wrong("the relay hung up")
        frames = (self._offset + count) // self._size
        seen = 0
        while seen < count:
            begin = self._offset
            step = min(count - seen, len(self._expected) - begin)
            if self._expected[begin : begin + step] != _RECEIVED[seen : seen + step]:
                raise Wrong(f"other bytes than {bytes(self._expected[:80])!r}")
            self._offset = (begin + step) % self._size
            seen += step
        return frames

    def say(self, count: int) -> bool:
        """Send ``count`` messages; returns whether all went out."""
        self._unsent = memoryview(bytes(self._unsent) + self.says * count)
        return self.push()

    def push(self) -> bool:
        """Send what is left; returns whether that was all."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        return not self._unsent


class Line:
    """How connections are made: to a port, perhaps by TLS."""

    def __init__(self, port: int, ca_file: str = "") -> None:
        self.port = port
        self._tls = ssl.create_default_context(cafile=ca_file) if ca_file else None

    def dial(self, hello: bytes = b"") -> socket.socket:
        """A connection; upgraded by ``hello`` if that is not empty."""
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_hostname="127.0.0.1")
        if hello:
            sock.sendall(hello)
            self.upgraded(sock)
        return sock

    @staticmethod
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
                raise Wrong(f"no upgrade: {head!r}")
        if b" 101 " not in head[:20]:
            raise Wrong(f"no upgrade: {head!r}")


class Pair:
    """A phone and its binary, which have spoken once: so the phone's conn_id is known."""

    def __init__(self, phone: Side, binary: Side) -> None:
        self.phone, self.binary = phone, binary
        phone.peer, binary.peer = binary, phone
        for side in (phone, binary):
            side.sock.setblocking(False)

    def close(self) -> None:
        """Hang up."""
        self.phone.sock.close()
        self.binary.sock.close()

    @classmethod
    def through(cls, line: Line, size: int) -> Self:
        """Connect through a relay, with messages of ``size`` bytes."""
        server_id = f"bench-{os.urandom(6).hex()}"
        binary = Side(line.dial(binary_handshake(server_id)))
        phone = Side(line.dial(phone_handshake(server_id)))
        message = b'"%b"' % (b"x" * (size - 2))
        phone.says = client_frame(message)
        phone.sock.sendall(phone.says)
        envelope = _read_frame(binary.sock)
        binary.says = client_frame(envelope)
        binary.expect(_server_frame(envelope))
        phone.expect(_server_frame(message))
        binary.sock.sendall(binary.says)
        if _read_frame(phone.sock) != message:
            raise Wrong("the first answer")
        return cls(phone, binary)

    @classmethod
    def over(cls, line: Line, backend: socket.socket, size: int) -> Self:
        """The same bytes over a byte pipe, whose far end we are ourselves."""
        near = line.dial()
        near.sendall(b"?")
        far, _ = backend.accept()
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far.recv(1)
        phone, binary = Side(near), Side(far)
        message = b'"%b"' % (b"x" * (size - 2))
        envelope = b'{"conn_id":"client-bench-00112233-00112233","frame":%b}' % message
        phone.says, binary.says = client_frame(message), client_frame(envelope)
        phone.expect(binary.says)
        binary.expect(phone.says)
        return cls(phone, binary)


def _server_frame(payload: bytes) -> bytes:
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
    _, begin, end = frame
    if begin != header_size(end - begin) or end != len(data):
        raise Wrong("not one frame in its shortest form")
    return data[begin:end]
