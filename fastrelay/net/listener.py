"""A listening socket and the connections accepted from it, before they have a transport."""

import asyncio
import errno
import math
import resource
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, cast

from fastrelay.address import plain_host
from fastrelay.log import Log
from fastrelay.loop.newcomers import Newcomers
from fastrelay.net.accepted import AcceptedSocket, accept, kind_of
from fastrelay.net.sockets import keep_unsent_few

_SPARE_DESCRIPTORS: Final = 24
"""Descriptors that accepting leaves free. Connections without a transport yet, and those that are
being dropped, are counted nowhere, and both have a descriptor until the next iteration."""

_RETRY: Final = 0.5
"""Seconds without accepting after descriptors or memory have run out."""

_BROKEN: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})
"""Errors of accept after which the socket does not listen any more."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


ProtocolFactory = Callable[[str, AcceptedSocket], asyncio.BaseProtocol]
"""See :class:`Listener`."""

Opened = Callable[[AcceptedSocket, str], None]
"""Called with an accepted socket and the address of its client, without the port."""


def _last_descriptor() -> float:
    """The number of the descriptor with which accepting pauses until the next iteration."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if limit == resource.RLIM_INFINITY else limit - _SPARE_DESCRIPTORS


class Prelude(Protocol):
    """Reads the first bytes of a connection, before it has a transport."""

    def read(self, sock: AcceptedSocket, peer: str, done: Opened) -> None:
        """Read from an accepted socket; then call ``done``, or drop the socket."""


class Listener:
    """Accepts connections from one socket until it is closed.

    Args:
        sock: the listening socket, which the listener owns from now on.
        make_protocol: returns a connection's protocol for the client's address (without port) and
            the socket, which the transport closes.
        newcomers: schedules when connections are accepted.
        on_failure: called once if the socket fails; no connection is accepted after that.
        prelude: determines the client's address; ``None``: it is the address of the socket's peer.
    """

    def __init__(
        self,
        sock: socket.socket,
        make_protocol: ProtocolFactory,
        loop: asyncio.AbstractEventLoop,
        log: Log,
        newcomers: Newcomers,
        on_failure: Callable[[], None],
        prelude: Prelude | None = None,
    ) -> None:
        self._newcomers = newcomers
        self._last_descriptor = _last_descriptor()
        self._on_failure = on_failure
        self._prelude = prelude
        self._sock = sock
        self._kind = kind_of(sock)
        self._is_ipv4 = sock.family == socket.AF_INET
        self._make_protocol = make_protocol
        self._loop = loop
        self._log = log
        self._opening: set[asyncio.Task[object]] = set()
        self._retry: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        keep_unsent_few(sock)
        loop.add_reader(sock, self._accept)

    @property
    def port(self) -> int:
        """The port of the listening socket."""
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
        self._newcomers.accept(self._accept_one)

    def _accept_one(self) -> bool:
        """Accept a connection; returns whether another one may be accepted in this iteration."""
        try:
            sock, peer = accept(self._sock, self._kind)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._pause(error)
                return False
            if error.errno in _BROKEN:
                self._break(error)
                return False
            return True  # the peer has closed the connection already
        # The address of an IPv4 peer already has its plain form, so it is not parsed.
        client = peer[0] if self._is_ipv4 else plain_host(peer[0])
        if self._prelude is None:
            self._open(sock, client)
        else:
            sock.setblocking(False)  # as the transport does itself
            self._prelude.read(sock, client, self._open)
        # A socket gets the lowest free descriptor, so all below it are in use.
        return sock.fileno() < self._last_descriptor

    def _open(self, sock: AcceptedSocket, client: str) -> None:
        make = partial(self._make_protocol, client, sock)
        opening = self._loop.connect_accepted_socket(make, cast("socket.socket", sock))
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
