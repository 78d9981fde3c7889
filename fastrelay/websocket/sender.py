"""The sending half of a connection: writes at once, or queues while the kernel accepts no more.

The transport reports any byte that it could not pass to the kernel at once (its high-water mark is
0). A connection is therefore *blocked* exactly while bytes wait in this process. While it is
blocked, frames wait in its send queue and can still be dropped; the transport has only bytes that
the kernel has begun to accept. In the normal case nothing waits, and a send is one ``write``.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from fastrelay.loop.fair_reads import FairReader
from fastrelay.net.sockets import tcp_bytes
from fastrelay.net.tls.layer import UNENCRYPTED
from fastrelay.protocol.close_codes import CloseReason
from fastrelay.protocol.frames import Opcode, Piece, close_frame, control_frame
from fastrelay.websocket.containment import contained
from fastrelay.websocket.context import ConnectionContext, SentCounter
from fastrelay.websocket.deadlines import Deadlines
from fastrelay.websocket.handler import Handler
from fastrelay.websocket.send_queue import EndOfStream, FlushMarker, Owner, SendQueue
from fastrelay.websocket.states import State

_SLICE_BYTES: Final = 64 * 1024
"""Queued bytes that are handed to the transport at once when it drains. A slice is one large write,
and small enough that most of a backlog can still be dropped."""

_MOST_PONGS: Final = 16
"""The number of pings of one read that are answered, beside the last one (RFC 6455 §5.5.3)."""

_FIRST_LOOK: Final = 0.1
"""The part of the write interval after which the kernel is asked for the first time what the peer
has acknowledged. So nothing is asked while a backlog flows, and a stall is seen 1.1 write intervals
after its beginning at the latest."""

_NOT_ASKED: Final = -1

_OPEN, _CLOSED = State.OPEN, State.CLOSED  # cached: hot path


class Sender(FairReader):
    """The part of a connection that sends, and holds what waits to be sent.

    Args:
        sock: the socket of the peer's TCP connection; ``None``: the kernel cannot be asked.

    Attributes:
        blocked: bytes wait in this process, so frames are queued.
        wheel_tick: see :class:`fastrelay.loop.timer_wheel.Timed`.
    """

    __slots__ = (
        "_acknowledged",
        "_context",
        "_deadlines",
        "_handler",
        "_queue",
        "_sent",
        "_sock",
        "_state",
        "_transport",
        "_write_mark",
        "blocked",
        "wheel_tick",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        handler: Handler,
        context: ConnectionContext,
        sent: SentCounter,
        sock: socket.SocketType | None = None,
    ) -> None:
        self._transport = transport
        self._sock = sock
        self._handler: Handler = handler
        self._context = context
        self._sent = sent
        self._state = _OPEN
        self._deadlines = Deadlines(context.wheel.now + context.intervals.ping)
        self.blocked = False
        self._queue: SendQueue | None = None
        self._acknowledged = _NOT_ASKED
        self._write_mark = 0
        self.wheel_tick = 0

    def crashed(self, error: Exception) -> None:
        """End the connection, one of whose methods has raised; no close frame is sent."""
        raise NotImplementedError

    def on_timer(self) -> None:
        """Act on every deadline that has passed."""
        raise NotImplementedError

    def _arm_close_deadline(self) -> None:
        """The peer has got all, so it has a limited time to end the connection from now on."""
        raise NotImplementedError

    @property
    def unsent(self) -> int:
        """The bytes held in this process for the peer, including the charge of queued frames."""
        held = self._transport.get_write_buffer_size()
        return held if self._queue is None else held + self._queue.charged

    @property
    def address(self) -> str:
        """The peer's address, as limits know it."""
        return self._context.live.address_of(self)

    @property
    def unowned(self) -> int:
        """The part of :attr:`unsent` that is charged to no owner of queued frames."""
        held = self._transport.get_write_buffer_size()
        return held if self._queue is None else held + self._queue.charged - self._queue.owned

    def send(self, pieces: Sequence[Piece], frames: int, owner: Owner | None = None) -> bool:
        """Send ``frames`` whole data frames whose bytes are ``pieces`` end to end.

        Args:
            owner: is charged for them while they wait, and has turns of its own.

        Returns whether they were taken: ``False`` once the connection is closing. Frames on which
        the transport fails were taken, and are lost with the connection.
        """
        if self._state is not _OPEN:
            return False
        try:
            if self.blocked:
                self._waiting().append(pieces, frames, owner)
                self._handler.on_backlog(self.unsent)
                return True
            self._sent.forwarded += frames
            if len(pieces) == 1:
                self._sent.forwarded_bytes += len(pieces[0])
                self._transport.write(pieces[0])
            else:
                self._sent.forwarded_bytes += sum(map(len, pieces))
                self._transport.writelines(pieces)
        except Exception as error:
            self.crashed(error)
        return True

    def send_frame(self, frame: bytes, owner: Owner | None = None) -> bool:
        """:meth:`send` for one data frame in one piece, the most frequent case: costs less."""
        if self._state is not _OPEN or self.blocked:
            return self.send((frame,), 1, owner)
        sent = self._sent
        sent.forwarded += 1
        sent.forwarded_bytes += len(frame)
        try:
            self._transport.write(frame)
        except Exception as error:
            self.crashed(error)
        return True

    @contained
    def notify_when_flushed(self, marker: FlushMarker, owner: Owner | None = None) -> None:
        """Call ``marker`` when the kernel has everything sent for ``owner`` until now.

        If that is dropped, the marker is not called.
        """
        if self._state is _OPEN:
            if self.blocked:
                self._waiting().add_marker(marker, owner)
            else:
                marker.flushed()

    def _send_last(self, close: CloseReason) -> None:
        """Send the close frame behind everything that waits, or end TCP if there is none."""
        if self.blocked:
            if close.has_frame:
                self._waiting().put_last(close_frame(close))
            else:
                self._waiting().add_marker(EndOfStream(self._transport))
            return
        if close.has_frame:
            self._transport.write(close_frame(close))
        else:
            self._transport.write_eof()
        self._arm_close_deadline()

    @contained
    def ping(self, payload: bytes = b"") -> None:
        """Send a ping, before everything that waits; :meth:`Handler.on_pong` tells of the pong."""
        frame = control_frame(Opcode.PING, payload)
        if self.blocked:
            self._waiting().put_first(frame)
        else:
            self._transport.write(frame)

    def _answer_pings(self, payloads: list[bytes]) -> None:
        """Answer the first pings of a read and the last one, before everything that waits."""
        if self._state is not _OPEN or not payloads:
            return
        if self.blocked:
            # Only the latest needs an answer (RFC 6455 §5.5.3); a queue of pongs would grow.
            self._waiting().unanswered_ping = payloads[-1]
            return
        answered = payloads[:_MOST_PONGS] + payloads[_MOST_PONGS:][-1:]
        self._transport.write(b"".join([control_frame(Opcode.PONG, data) for data in answered]))

    def _waiting(self) -> SendQueue:
        if self._queue is None:
            self._queue = SendQueue()
        return self._queue

    def _drop_queue(self) -> None:
        """Drop what has not reached the transport."""
        if self._queue is not None:
            queue, self._queue = self._queue, None
            frames = queue.forget()
            if frames:
                self._handler.on_undelivered(frames)
            if self._state is not _CLOSED:
                self._handler.on_backlog(self.unsent)

    def drop_waiting(self, owner: Owner) -> int:
        """Drop the queued frames of one owner; returns how many."""
        if self._queue is None:
            return 0
        return self._queue.drop(owner)

    @contained
    def pause_writing(self) -> None:
        """The kernel did not take everything, so frames are queued from now on.

        ``TlsLayer`` calls it again when TLS itself has bytes to send, which also wait.
        """
        if not self.blocked:
            self._block()
        self._handler.on_backlog(self.unsent)

    def _block(self) -> None:
        self.blocked = True
        self._write_mark = self._transport.get_write_buffer_size()
        self._acknowledged = _NOT_ASKED
        wheel = self._context.wheel
        self._expect_write(wheel.now + self._context.intervals.write * _FIRST_LOOK)

    def _expect_write(self, due: float) -> None:
        self._deadlines.write = due
        self._context.wheel.no_later(self, due)

    @contained
    def resume_writing(self) -> None:
        """The kernel has taken everything the transport had: send the queue, in slices."""
        self.blocked = False
        self._deadlines.write = 0.0
        queue = self._queue
        if queue is not None and queue.unanswered_ping is not None:
            payload, queue.unanswered_ping = queue.unanswered_ping, None
            self._answer_pings([payload])
        while self._queue and not self.blocked:
            pieces, frames = self._queue.take_slice(_SLICE_BYTES)
            self._sent.forwarded += frames
            self._sent.forwarded_bytes += sum(map(len, pieces))
            if pieces:
                self._transport.writelines(pieces)
        if self.blocked:
            return
        self._queue = None
        if self._state is State.CLOSING:
            self._arm_close_deadline()
        if not self.blocked:
            self._handler.on_backlog(0)

    def _check_write_progress(self, due: float) -> None:
        """Ask what the peer's kernel has acknowledged, at the deadline ``due``.

        A peer that acknowledges bytes is not stalled, however slow it is: the kernel calls a socket
        writable only when a third of its send buffer is free, so our own buffer does not show it.
        """
        interval = self._context.intervals.write
        told = tcp_bytes(self._sock)
        if self._acknowledged == _NOT_ASKED:
            self._acknowledged = 0 if told is None else told.acknowledged
            # Without an answer, our own buffer decides, whose size is known from the beginning.
            self._expect_write(due + interval * (1 - _FIRST_LOOK if told is None else 1))
            return
        # Bytes that TLS cannot encrypt yet are left out: TlsLayer has a deadline for them.
        unencrypted = self._transport.get_extra_info(UNENCRYPTED) or 0
        waiting = self._transport.get_write_buffer_size() - unencrypted
        if told is None:
            has_progressed = waiting < self._write_mark
        else:
            has_progressed = told.acknowledged > self._acknowledged
            self._acknowledged = told.acknowledged
        if has_progressed or not waiting:
            self._write_mark = waiting
            self._expect_write(self._context.wheel.now + interval)
        else:
            self._handler.on_write_stalled()
