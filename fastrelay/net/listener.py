"""A listening socket and the connections accepted from it, before they have a transport."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final, Protocol

from fastrelay.address import plain_host
from fastrelay.log import Log

_ACCEPTS_PER_ITERATION: Final = 8
"""Connections accepted in one iteration of the loop at most, so that traffic goes on during a
storm; and so few that those without a transport yet, and those being dropped for them, fit the
descriptors in reserve."""

_RETRY: Final = 0.5
"""Seconds without accepting after the system ran out of something."""

_BROKEN: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})
"""Errors of accept that mean that the socket listens no more."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


Opened = Callable[[socket.socket, str], None]
"""Takes an accepted socket and the address of its client, without port."""


class Prelude(Protocol):
    """Reads the first bytes of a connection, before it has a transport."""

    def read(self, sock: socket.socket, peer: str, done: Opened) -> None:
        """Read from an accepted socket; then call ``done``, or close it."""


class Listener:
    """Accepts from one socket until it is closed.

    Args:
        sock: listening; the listener owns it from now on.
        make_protocol: a protocol for one connection from the client's address, without port.
        on_failure: called once if the socket breaks; nothing is accepted after it.
        prelude: what tells the client's address; ``None``: it is the socket's peer.
    """

    def __init__(
        self,
        sock: socket.socket,
        make_protocol: Callable[[str], asyncio.BaseProtocol],
        loop: asyncio.AbstractEventLoop,
        log: Log,
        on_failure: Callable[[], None],
        prelude: Prelude | None = None,
    ) -> None:
        self._on_failure = on_failure
        self._prelude = prelude
        self._sock = sock
        self._is_ipv4 = sock.family == socket.AF_INET
        self._make_protocol = make_protocol
        self._loop = loop
        self._log = log
        self._opening: set[asyncio.Task[object]] = set()
        self._retry: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        loop.add_reader(sock, self._accept)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._sock.getsockname()[1]
        return port

    def close(self) -> None:
        """Stop accepting, now."""
        if self._retry is not None:
            self._retry.cancel()
        else:
            self._loop.remove_reader(self._sock)
        self._sock.close()

    async def opened(self) -> None:
        """Wait until every accepted connection has its transport and protocol."""
        if self._opening:
            await asyncio.wait(self._opening)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_ITERATION):
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                    return
                if error.errno in _BROKEN:
                    self._break(error)
                    return
                continue  # the peer has closed the connection already
            sock.setblocking(False)
            # The address of an IPv4 peer is in its plain form; to parse and print it takes 7 µs.
            client = peer[0] if self._is_ipv4 else plain_host(peer[0])
            if self._prelude is None:
                self._open(sock, client)
            else:
                self._prelude.read(sock, client, self._open)

    def _open(self, sock: socket.socket, client: str) -> None:
        opening = self._loop.connect_accepted_socket(lambda: self._make_protocol(client), sock)
        task: asyncio.Task[object] = self._loop.create_task(opening)
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[object]) -> None:
        self._opening.discard(task)
        if not task.cancelled():
            task.exception()  # a peer that has closed already is no error

    def _pause(self, error: OSError) -> None:
        self._log.limited("accept_paused", err=str(error))
        self._loop.remove_reader(self._sock)
        self._retry = self._loop.call_later(_RETRY, self._resume)

    def _break(self, error: OSError) -> None:
        self._log.error("listener_failed", err=str(error))
        self._loop.remove_reader(self._sock)
        self._on_failure()

    def _resume(self) -> None:
        self._retry = None
        self._loop.add_reader(self._sock, self._accept)
