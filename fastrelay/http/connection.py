"""A connection from its first byte to its upgrade: reads request heads and calls routes.

h11 parses request heads. This module limits their time and number, and decides what happens to the
connection afterwards. Bytes behind a refused upgrade are never read as a request.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Final, cast

import h11

from fastrelay.http.exchange import Detached, Exchange, render
from fastrelay.http.head import empty_line, fault_of
from fastrelay.http.responses import MISDIRECTED_REQUEST, NOT_FOUND, error, too_many_requests
from fastrelay.http.status import write_status
from fastrelay.loop.internal_errors import report
from fastrelay.loop.newcomers import Newcomers
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.policy.pending import PendingConnections

MAX_REQUESTS: Final = 100
"""The most requests of one connection, so that responses that it does not read stay few."""


class _State(Enum):
    """What is done with the bytes of the peer."""

    READING = auto()
    """They are read as request heads."""

    LINGERING = auto()
    """They are dropped. The last response was written, and the peer has time to read it."""

    DETACHED = auto()
    """They go to another protocol."""


_READING, _LINGERING, _DETACHED = _State  # cached: hot path

Route = Callable[[Exchange], None]
"""Answers one request with a response, or takes the transport away."""


def no_wait(client: str) -> float:
    """There is no limit of plain requests."""
    return 0.0


def any_host(exchange: Exchange) -> bool:
    """Requests for all hosts are served."""
    return True


@dataclass(frozen=True, slots=True)
class Site:
    """What one listener serves.

    Attributes:
        routes: the routes by exact path; the response for any other path is 404.
        client_address: returns the client's address for the peer's address and the request.
        newcomers: schedules when request heads are read.
        pending: counts connections until they are upgraded or end.
        upgrades: the paths that have a rate limit of their own; any other request is plain.
        plain_wait: takes a token of an address for a plain request; returns the seconds until there
            is one, or 0.0 if it was taken.
        is_for_us: whether the host of a request is served here. If not, the answer is 421.
        head_bytes, head_timeout, linger: see :class:`fastrelay.config.settings.Settings`.
    """

    routes: Mapping[str, Route]
    client_address: Callable[[str, h11.Request], str]
    wheel: TimerWheel
    newcomers: Newcomers
    head_bytes: int
    head_timeout: float
    linger: float
    pending: PendingConnections
    upgrades: frozenset[str] = frozenset()
    plain_wait: Callable[[str], float] = no_wait
    is_for_us: Callable[[Exchange], bool] = any_host


class HttpProtocol(asyncio.Protocol):
    """One accepted connection while it speaks HTTP/1.1.

    Args:
        site: what the listener of the connection serves.
        peer: the address of the peer, without the port.
        sock: the socket from which the transport is made, for who takes over the connection.
    """

    _transport: asyncio.Transport
    _http: h11.Connection  # made for the first byte: it costs more than the rest of an accept

    def __init__(self, site: Site, peer: str, sock: socket.SocketType | None = None) -> None:
        self._site = site
        self._peer = peer
        self._sock = sock
        self._has_spoken = False
        self._requests = 0
        self._skipped_line = False
        self._state = _READING
        self._started_at = time.perf_counter()
        self.wheel_tick = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the interface, but not the base class.
        self._transport = cast("asyncio.Transport", transport)
        self._site.wheel.after(self, self._site.head_timeout)
        self._site.pending.add(self, self._peer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._site.wheel.cancel(self)
        self._site.pending.discard(self)

    def abort(self) -> None:
        """Drop the connection without an answer."""
        try:
            self._transport.abort()
        except Exception as error:
            report(error)
            self.connection_lost(error)  # no transport will call it

    def on_timer(self) -> None:
        """The head was not complete in time, or the lingering is over."""
        self.abort()

    def data_received(self, data: bytes) -> None:
        if self._state is not _READING:
            return
        if not self._has_spoken:
            self._has_spoken = True
            self._http = self._new_http()
        self._http.receive_data(data)
        if not self._site.newcomers.run(self._serve_one, is_first=not self._requests):
            self._wait()

    def _wait(self) -> None:
        """Pause reading until there is time for the head that may have arrived."""
        self._transport.pause_reading()
        self._site.newcomers.queue(self._go_on, is_first=not self._requests)

    def _serve_one(self) -> None:
        """Serve the next request if its head is complete.

        Requests behind it wait for the next iteration of the event loop, so that a pipeline of
        requests does not delay other connections.
        """
        try:
            if self._serve_next() and self._http.trailing_data[0]:
                self._wait()
        except h11.RemoteProtocolError as error:
            self._refuse(HTTPStatus(error.error_status_hint))

    def _go_on(self) -> None:
        if self._state is not _READING or self._transport.is_closing():
            return
        try:
            self._transport.resume_reading()
            self._serve_one()
        except Exception as error:
            report(error)
            self.abort()

    def _serve_next(self) -> bool:
        """Serve the next request if its head is complete; returns whether another may follow."""
        received = self._without_empty_line(self._http.trailing_data[0])
        if received is None:
            return False
        if fault := fault_of(received, self._site.head_bytes):
            self._refuse(fault)
            return False
        event = self._http.next_event()
        if not isinstance(event, h11.Request):
            return False
        exchange = Exchange(
            event,
            self._site.client_address(self._peer, event),
            self._peer,
            self._transport,
            self._http,
            self._detach,
            started_at=self._started_at,
            is_last=self._requests + 1 == MAX_REQUESTS,
            take_back=self._take_back,
        )
        if status := exchange.protocol_error:
            self._refuse(status)
            return False
        self._requests += 1
        self._serve(exchange)
        return self._state is _READING

    def _new_http(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self._site.head_bytes)

    def _without_empty_line(self, received: bytes) -> bytes | None:
        """What was received, without one empty line before a request (RFC 9112 §2.2).

        Returns ``None`` while more has to come.
        """
        if self._skipped_line:
            return received
        skipped = empty_line(received)
        if skipped is None:
            return None
        if skipped:
            self._skipped_line = True
            received = received[skipped:]
            self._http = self._new_http()  # h11 would refuse the line
            if received:  # to h11, no bytes are the end
                self._http.receive_data(received)
        return received

    def _serve(self, exchange: Exchange) -> None:
        path = exchange.path
        route = self._site.routes.get(path)
        if path not in self._site.upgrades and (wait := self._site.plain_wait(exchange.client)):
            exchange.respond(too_many_requests(wait))
        elif not self._site.is_for_us(exchange):
            exchange.respond(MISDIRECTED_REQUEST)
        elif route is None:
            exchange.respond(NOT_FOUND)
        else:
            route(exchange)
        if self._state is not _READING:
            return
        if not exchange.has_body:
            self._http.next_event()  # the end of the request
        # Neither is DONE if either end has said that this was the last request.
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._skipped_line = False
            self._started_at = time.perf_counter()
            self._site.wheel.after(self, self._site.head_timeout)
        else:
            self._hang_up()

    def _refuse(self, status: HTTPStatus) -> None:
        """Refuse a head that is not a valid request, if h11 can still send a response."""
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            write_status(self._transport, status, render(self._http, error(status)), None)
        self._hang_up()

    def _hang_up(self) -> None:
        """End the relay's side of TCP, and read and drop bytes for a little longer.

        A byte left unread in the socket when it is closed would reset the connection, and the peer
        might never see the response.
        """
        self._state = _LINGERING
        if not self._transport.is_closing():
            self._transport.write_eof()
            self._site.wheel.after(self, self._site.linger)

    def _detach(self) -> Detached:
        self._state = _DETACHED
        self._site.wheel.cancel(self)
        self._site.pending.discard(self)
        return Detached(self._transport, self._sock, self._http.trailing_data[0])

    def _take_back(self) -> None:
        """The transport was detached, and its request is refused all the same."""
        if not self._transport.is_closing():
            self._site.pending.add(self, self._peer)
            self._transport.resume_reading()
            self._hang_up()
