"""A TLS connection to another server that enforces an :class:`Allowance`.

``ssl.SSLSocket`` cannot do this. Its read continues for as long as records without data arrive
(session tickets, new keys). Neither a time-out nor a count of the returned bytes limits this. Here
TLS runs in memory, and every byte from the socket is counted before TLS processes it.
"""

import contextlib
import io
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, TypeVar

from fastrelay.net.outgoing.allowance import Allowance

Result = TypeVar("Result")

_PIECE: Final = 4096
"""The bytes that are received, decrypted and parsed before the thread pauses."""


class TlsStream:
    """The client's side of one connection; has the methods that ``http.client`` calls on a socket.

    Args:
        sock: a connected socket. It belongs to the stream from now on.
        context: verifies the server.
        host: the name that the server's certificate must have.
        allowance: the limits of the call that is under way; replaced for each call.

    Attributes:
        at_end: whether the end of what the server sends has been read.
    """

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, host: str, allowance: Allowance
    ) -> None:
        self.allowance = allowance
        self.at_end = False
        self._sock = sock
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_hostname=host)

    def handshake(self) -> None:
        """Do the TLS handshake.

        Raises:
            OSError: it failed, or the allowance is used up.
        """
        self._step(self._tls.do_handshake)

    def sendall(self, data: bytes) -> None:
        """Encrypt and send ``data``."""
        self._step(lambda: self._tls.write(data))

    def receive_into(self, buffer: Any) -> int:
        """Fill ``buffer`` with what has been received; returns how much, 0 at the end."""
        try:
            # With a buffer, read() returns a count; its annotation says bytes.
            count: Any = self._step(lambda: self._tls.read(len(buffer), buffer))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.at_end = True
            return 0  # HTTP tells whether anything is missing
        return int(count)

    def makefile(self, mode: str) -> io.BufferedReader:
        """A reader of what is received. Closing it leaves the connection open."""
        return io.BufferedReader(_Reader(self), _PIECE)

    def is_quiet(self) -> bool:
        """Whether the server has neither sent anything nor hung up since the last call."""
        self._sock.setblocking(False)
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def shut_down(self) -> None:
        """Make a call that waits in another thread fail."""
        with contextlib.suppress(OSError):  # the server was faster
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Do nothing: ``http.client`` calls this before it reads an answer of unknown length."""

    def end(self) -> None:
        """Close the socket."""
        self._sock.close()

    def _step(self, step: Callable[[], Result]) -> Result:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._send_pending()
                self._receive()
            else:
                self._send_pending()
                return result

    def _send_pending(self) -> None:
        if self._to_send.pending:
            data = self._to_send.read()
            with self.allowance.waiting() as seconds:
                self._sock.settimeout(seconds)  # of all that sendall() does
                self._sock.sendall(data)

    def _receive(self) -> None:
        with self.allowance.waiting() as seconds:
            self._sock.settimeout(seconds)
            data = self._sock.recv(_PIECE)
        if data:
            self.allowance.spend(len(data))
            self._received.write(data)
        else:
            self._received.write_eof()


class _Reader(io.RawIOBase):
    def __init__(self, stream: TlsStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._stream.receive_into(buffer)
