"""TLS as our layer over the plain transport, against uvloop's own TLS transport.

Found: 48 KB an idle connection instead of 17. CPU a round trip of uvloop's against ours: alike at
256 B, 1.1 at 65 kB; CPU a handshake and upgrade alike. uvloop's needs a high-water mark above 0,
see below.
"""

import asyncio
import socket
from functools import partial
from typing import Any

from bench.compare.plan import FOUR
from fastrelay.net.listener import Listener, ProtocolFactory
from fastrelay.net.tls.certificates import Certificates
from fastrelay.server.listeners import Listeners
from fastrelay.websocket.connection import Connection

CONTENDER = "fastrelay tls"
LOADS = FOUR
IDLE = True


class _Patient:
    """uvloop's TLS transport as a connection is given it. At a high-water mark of 0 it calls its
    protocol blocked while nothing waits, for ever, so the mark is 1."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def set_write_buffer_limits(self, high: int) -> None:
        self._transport.set_write_buffer_limits(high=1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Secured:
    """Makes protocols for connections whose transport is to do TLS."""

    def __init__(self, inner: ProtocolFactory, certificates: Certificates) -> None:
        self._inner = inner
        self.certificates = certificates

    def __call__(self, client: str, sock: socket.socket) -> asyncio.BaseProtocol:
        return self._inner(client, sock)


def change() -> None:
    """Let the listener ask uvloop for TLS."""
    plain, make_connection = Listener._open, Connection.__init__

    def connect(self: Any, transport: Any, *rest: Any) -> None:
        make_connection(self, _Patient(transport), *rest)  # type: ignore[arg-type]
        self._transport = transport

    def secure(self: Listeners, inner: ProtocolFactory) -> Secured:
        return Secured(inner, self.certificates)

    def open_(self: Any, sock: Any, client: str) -> None:
        make = self._make_protocol
        if not isinstance(make, Secured):
            plain(self, sock, client)
            return
        opening = self._loop.connect_accepted_socket(
            partial(make, client, sock), sock, ssl=make.certificates.context
        )
        task = self._loop.create_task(opening)
        self._opening.add(task)
        task.add_done_callback(self._opened)

    Connection.__init__ = connect  # type: ignore[method-assign]
    Listeners._tls_factory = secure  # type: ignore[method-assign, assignment]
    Listener._open = open_  # type: ignore[method-assign]
