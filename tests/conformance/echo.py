"""An application that sends every message back, behind all of the relay but its routing.

It runs in a thread with a loop of its own, so that cases are played by plain blocking sockets,
and one server is enough for all of them.
"""

import asyncio
import queue
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

import uvloop

from fastrelay.config.settings import Address, Intervals, Settings
from fastrelay.http.exchange import Exchange
from fastrelay.http.handshake import check_handshake, switch_protocols
from fastrelay.log import Log
from fastrelay.loop.fair_reads import FairScheduler
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.bound_sockets import bind_all
from fastrelay.policy.counters.frames import DirectionCounts
from fastrelay.policy.held_bytes import HeldBytes
from fastrelay.policy.pending import PendingConnections
from fastrelay.policy.plain_requests import PlainRequests
from fastrelay.protocol.cause import Cause
from fastrelay.protocol.close_codes import requested_close
from fastrelay.protocol.ending import Ending as ConnectionEnding
from fastrelay.protocol.frames import text_header
from fastrelay.server.listeners import Listeners
from fastrelay.websocket.connection import Connection
from fastrelay.websocket.context import ConnectionContext, UselessFrames
from tests.support.certificates import local_certificate
from tests.support.newcomers import unhurried

LIMIT = 128 * 1024
"""Bytes one message may have, if the request does not say."""

CLOSE_ME = b"close me with "
"""A message of this and a code is no echo: the application closes."""


def answer_to(message: bytes) -> bytes:
    """What comes back. The relay tells no application whether a message was text or binary, and
    sends only text; bytes that are no text come back as their hex digits."""
    try:
        message.decode()
    except UnicodeDecodeError:
        return message.hex().encode()
    return message


@dataclass(frozen=True)
class Ending:
    """What the application was told of one connection by the time its socket was gone.

    ``closes``: the code of each notice that it is over; ``ignored``: messages that came too late.
    """

    closes: list[int | None]
    ignored: int


class Echo:
    """One connection's handler."""

    connection: Connection
    server_id = ""

    def __init__(self, ended: Callable[[Ending], None]) -> None:
        self._ended = ended
        self._closes: list[int | None] = []
        self._ignored = 0

    def on_messages(self, messages: list[bytes]) -> None:
        """Send them back, or close."""
        for message in messages:
            if message.startswith(CLOSE_ME):
                self.connection.close(requested_close(int(message.removeprefix(CLOSE_ME))))
                return
            answer = answer_to(message)
            self.connection.send((text_header(len(answer)), answer), 1)

    def on_ignored(self, count: int) -> None:
        self._ignored += count

    def on_pong(self, payload: bytes) -> None: ...

    def on_backlog(self, unsent: int) -> None: ...

    def on_write_stalled(self) -> None:
        self.connection.abort()

    def on_closing(self, ending: ConnectionEnding) -> None:
        self._began = ending

    def on_undelivered(self, frames: int) -> None: ...

    def on_closed(self) -> None:
        # A violation is no close frame: the application hears of none.
        is_close = self._began.cause in {Cause.PEER_CLOSED, Cause.DIRECTED}
        self._closes.append(self._began.code if is_close else None)

    def address_of(self, connection: Connection) -> str:
        return "127.0.0.1"

    def discard(self, connection: Connection) -> None:
        """The socket is gone."""
        self._ended(Ending(self._closes, self._ignored))


class InPieces(Connection):
    """Takes what is read, over TLS or not, ``size`` bytes at a time."""

    def __init__(self, *given: Any) -> None:
        *others, self._size = given
        super().__init__(*others)

    def buffer_updated(self, nbytes: int) -> None:
        self.process_read(nbytes)

    def process_read(self, nbytes: int) -> None:
        room = self.receive_buffer
        data = bytes(room[:nbytes])
        for position in range(0, nbytes, self._size):
            piece = data[position : position + self._size]
            room[: len(piece)] = piece
            super().process_read(len(piece))


@dataclass
class EchoServer:
    """Listens in a thread, plain and with TLS, between ``with`` and its end.

    ``/?read=7&limit=500`` asks for a connection that takes 7 bytes at a time and takes
    messages of at most 500.

    Attributes:
        ports: the plain one and that with TLS.
        endings: one of each connection.
        faults: what the loop was told of.
    """

    ports: dict[bool, int] = field(default_factory=dict)
    endings: "queue.SimpleQueue[Ending]" = field(default_factory=queue.SimpleQueue)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve(ready.set)))
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        assert self.endings.empty()
        assert not self.faults

    async def _serve(self, ready: Callable[[], None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda _, context: self.faults.append(context))
        self._wheel = TimerWheel(self._loop, 0.25)
        listeners = [self._listen(secure) for secure in (False, True)]
        ready()
        await self._stop.wait()
        for listener in listeners:
            await listener.stop()
        assert not len(self._wheel)
        self._wheel.close()

    def _listen(self, secure: bool) -> Listeners:
        settings = Settings(
            listen=Address("127.0.0.1", 0), tls=local_certificate() if secure else None
        )
        log = Log(lambda line: self.faults.append({"message": line}), "warning")
        failed = {"message": "the listener broke"}
        listeners = Listeners(
            settings,
            self._wheel,
            PendingConnections(10),
            FairScheduler(),
            unhurried(self._loop.call_soon),
            PlainRequests(None, lambda client, what: None),
            log,
            lambda: self.faults.append(failed),
        )
        listeners.open(bind_all(settings), {"/": self._connect}, {})
        self.ports[secure] = listeners.ports[0]
        return listeners

    def _connect(self, exchange: Exchange) -> None:
        wish = dict(parse_qsl(exchange.request.target.partition(b"?")[2].decode()))
        echo = Echo(self.endings.put)
        context = ConnectionContext(
            self._wheel,
            Intervals(),
            int(wish.get("limit", LIMIT)),
            echo,
            HeldBytes(2**30),
            useless=UselessFrames(burst=100_000),
        )
        accept_token = check_handshake(exchange)
        transport, sock, early = exchange.detach()
        assert sock is not None
        # A close frame drops answers that wait because the client has not read those before.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 2**31 - 1)
        switch_protocols(transport, accept_token, None)
        if "read" in wish:
            size = int(wish["read"])
            echo.connection = InPieces(transport, echo, context, DirectionCounts(), size)
        else:
            echo.connection = Connection(transport, echo, context, DirectionCounts(), sock)
        if early:
            echo.connection.receive(early)
