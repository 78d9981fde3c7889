"""All phones dial at once, none waits for another: what a relay meets when a network is back."""

import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence

from bench.load.pairs import Line, Wrong

_PATIENCE = 60.0
_DIALS = 16
"""Between two looks at those that can go on: each phone says its hello as soon as it may."""

Waiting = Iterator[int]
"""An attempt under way: yields what its socket waits for, ends when it is upgraded."""


def reconnect(line: Line, hellos: Sequence[bytes]) -> tuple[list[socket.socket], int]:
    """One upgraded connection for each hello, in order; and how often one had to redial.

    A connection that is closed before the 101 is dialled again at once, as a phone does: a relay
    may drop connections that have sent no request when there are too many of them.

    Raises:
        Wrong: one was refused, or is not there after a minute.
    """
    storm = _Storm(line, hellos)
    for number in range(len(hellos)):
        storm.dial(number)
        if not number % _DIALS:
            storm.go_on(0.0)
    deadline = time.perf_counter() + _PATIENCE
    while left := storm.left:
        storm.go_on(1.0)
        if time.perf_counter() > deadline:
            raise Wrong(f"{left} of {len(hellos)} did not come back")
    storm.selector.close()
    return [storm.sockets[number] for number in range(len(hellos))], storm.redialled


class _Storm:
    def __init__(self, line: Line, hellos: Sequence[bytes]) -> None:
        self._line = line
        self._hellos = hellos
        self.sockets: dict[int, socket.socket] = {}
        self.redialled = 0
        self.selector = selectors.DefaultSelector()

    @property
    def left(self) -> int:
        """Attempts under way."""
        return len(self.selector.get_map())

    def dial(self, number: int) -> None:
        """Begin an attempt."""
        sock = self.sockets[number] = _begin(self._line)
        attempt = _attempt(sock, self._hellos[number])
        self.selector.register(sock, selectors.EVENT_WRITE, (number, attempt))

    def go_on(self, wait: float) -> None:
        """Take every attempt that can go on a step further."""
        for key, _ in self.selector.select(wait):
            number, attempt = key.data
            sock = self.sockets[number]
            try:
                self.selector.modify(sock, next(attempt), key.data)
            except StopIteration:
                self.selector.unregister(sock)
            except ConnectionError:
                self.selector.unregister(sock)
                sock.close()
                self.redialled += 1
                self.dial(number)


def _begin(line: Line) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect_ex(line.address)
    if line.tls is None:
        return sock
    return line.tls.wrap_socket(sock, server_hostname="127.0.0.1", do_handshake_on_connect=False)


def _attempt(sock: socket.socket, hello: bytes) -> Waiting:
    if isinstance(sock, ssl.SSLSocket):
        yield from _patiently(sock.do_handshake)
    sock.send(hello)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        yield selectors.EVENT_READ
        try:
            data = sock.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError):
            continue
        if not data:
            raise ConnectionResetError
        head += data
    if b" 101 " not in head[:20]:
        raise Wrong(f"no upgrade: {head!r}")


def _patiently(step: Callable[[], None]) -> Waiting:
    while True:
        try:
            step()
        except ssl.SSLWantReadError:
            yield selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            yield selectors.EVENT_WRITE
        else:
            return
