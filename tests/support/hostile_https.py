"""HTTPS servers on loopback whose answers are meant to do harm, each in threads of their own."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MIB = 1024 * 1024

ENDLESS = {
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "short fields": (OK, b"a: b\r\n"),
    "long fields": (OK, b"a: " + b"x" * 8000 + b"\r\n"),
    "one field": (OK + b"a: ", b"x"),
    "chunk extension": (CHUNKED + b"1;", b"x"),
    "trailers": (CHUNKED + b"0\r\n", b"a: b\r\n"),
}
"""The beginning of an answer, and what follows it without end."""


class HostileServer:
    """A running server.

    Attributes:
        port: where it listens.
        sent: the bytes of HTTP that the relay's side has let it send, on all connections.
        requests: the connections on which a request came.
        ended: set when the relay's side has ended a connection.
    """

    def __init__(self, context: ssl.SSLContext, answer: Callable[["Sender"], None]) -> None:
        self.sent = 0
        self.requests = 0
        self.ended = threading.Event()
        self._context = context
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        self._stopping = threading.Event()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._serving: list[threading.Thread] = []
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._serving.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        # What the kernel takes for a peer that does not read would otherwise count as sent.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        try:
            with self._context.wrap_socket(connection, server_side=True) as tls:
                sender = Sender(self, tls)
                sender.receive()
                self.requests += 1
                self._answer(sender)
        except OSError:
            pass
        finally:
            connection.close()
            self.ended.set()

    def stop(self) -> None:
        """End all threads."""
        self._stopping.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join()
        for thread in self._serving:
            thread.join(25)


class Sender:
    """One connection of a :class:`HostileServer`."""

    def __init__(self, server: HostileServer, tls: ssl.SSLSocket) -> None:
        self._server = server
        self._tls = tls

    @property
    def url(self) -> str:
        return self._server.url

    def receive(self) -> None:
        """Read one request to its end; raises ``OSError`` when there is none."""
        request = b""
        while b"\r\n\r\n" not in request:
            piece = self._tls.recv(65536)
            if not piece:
                raise ConnectionAbortedError
            request += piece
        head, _, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += self._tls.recv(65536)

    def send(self, data: bytes) -> None:
        """Send all of ``data``; raises ``OSError`` when the relay's side has ended."""
        self._tls.sendall(data)
        self._server.sent += len(data)

    def pause(self, seconds: float) -> bool:
        """Wait; returns whether the server is to go on."""
        return not self._server._stopping.wait(seconds)


def endless(name: str, most: int = 64 * MIB) -> Callable[[Sender], None]:
    """One of :data:`ENDLESS`; it stops at ``most`` bytes, so that no test fills the memory."""

    def answer(sender: Sender) -> None:
        begin, again = ENDLESS[name]
        sender.send(begin)
        piece = again * (16384 // len(again))
        for _ in range(most // len(piece)):
            sender.send(piece)

    return answer


def dribble(interval: float) -> Callable[[Sender], None]:
    """A byte of a good answer in each interval, without end."""

    def answer(sender: Sender) -> None:
        sender.send(OK + b"a: ")
        while sender.pause(interval):
            sender.send(b"x")

    return answer


def whole(data: bytes) -> Callable[[Sender], None]:
    """Exactly ``data``."""
    return lambda sender: sender.send(data)


@contextmanager
def hostile_server(
    context: ssl.SSLContext, answer: Callable[[Sender], None]
) -> Iterator[HostileServer]:
    """A server that gives ``answer`` to every request."""
    server = HostileServer(context, answer)
    try:
        yield server
    finally:
        server.stop()
