"""Everybody dials at once, none waits for another: what a relay meets when a network is back."""

import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence

from bench.load.pairs import Line, Wrong

_PATIENCE = 60.0

Waiting = Iterator[int]
"""An attempt under way: yields what its socket waits for, ends when it is upgraded."""


def reconnect(line: Line, hellos: Sequence[bytes]) -> list[socket.socket]:
    """One upgraded connection for each hello, in order.

    Raises:
        Wrong: one was refused, or is not there after a minute.
    """
    sockets: list[socket.socket] = []
    with selectors.DefaultSelector() as selector:
        for number, hello in enumerate(hellos):
            sock = _begin(line)
            sockets.append(sock)
            selector.register(sock, selectors.EVENT_WRITE, (number, _attempt(sock, hello)))
        deadline = time.perf_counter() + _PATIENCE
        while selector.get_map():
            ready = selector.select(1.0)
            if time.perf_counter() > deadline:
                raise Wrong(f"{len(selector.get_map())} of {len(hellos)} did not come back")
            for key, _ in ready:
                number, attempt = key.data
                try:
                    selector.modify(sockets[number], next(attempt), key.data)
                except StopIteration:
                    selector.unregister(sockets[number])
                except ConnectionError as error:
                    raise Wrong(f"no upgrade: {error}") from None
    return sockets


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
            break
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
