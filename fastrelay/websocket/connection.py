"""A live WebSocket over a transport: frames, control frames, the close handshake.

The transport is told to report any byte it could not hand to the kernel at once (its high-water
mark is 0), so *blocked* has one exact meaning: bytes wait in this process. While it is blocked,
frames queue here in ``_pending`` and can still be thrown away; only what the kernel began to take
lies in the transport. In the normal case nothing ever queues and a send is one ``write``.
"""

import asyncio
import select
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, Final, ParamSpec

from fastrelay.loop.fair_reads import TurnTaker
from fastrelay.loop.internal_errors import report
from fastrelay.net.tls.layer import UNENCRYPTED
from fastrelay.protocol.cause import Aborted, Cause
from fastrelay.protocol.close_codes import HEARTBEAT_TIMEOUT, MESSAGE_TIMEOUT, CloseReason
from fastrelay.protocol.decoder import Closed, FrameDecoder, Ping, Pong
from fastrelay.protocol.frames import Opcode, Piece, close_frame, control_frame
from fastrelay.websocket.context import Conditions, SentCounter
from fastrelay.websocket.handler import NOBODY, Handler
from fastrelay.websocket.send_queue import Backlog, Stopwatch

_FLUSH_BYTES: Final = 64 * 1024
"""Queued bytes handed to the transport at once when it drains: one large write, and little enough
that what waits can still be dropped."""

_OPEN, _CLOSING, _CLOSED = range(3)
_PING: Final = control_frame(Opcode.PING, b"")
_NO_PROTOCOL: Final = asyncio.Protocol()

_Arguments = ParamSpec("_Arguments")


def _contained(
    method: "Callable[Concatenate[Connection, _Arguments], None]",
) -> "Callable[Concatenate[Connection, _Arguments], None]":
    """Keep an exception within the connection it belongs to: the boundary between peers.

    Other peers' calls, loops over all connections and the event loop come in through methods with
    this decorator, or through :meth:`Connection.send` and :meth:`Connection.send_frame`, which do
    the same. So a caller goes on, and the connection whose method raised is ended.
    """

    @wraps(method)
    def call(
        self: "Connection", /, *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> None:
        try:
            method(self, *arguments, **named)
        except Exception as error:
            self._crashed(error)

    return call


class Connection(TurnTaker):
    """One peer's WebSocket after the 101. It owns its transport.

    Deadlines are loop times, 0.0 when not running; the earliest has the connection's one
    appointment with the timer wheel.
    """

    __slots__ = (
        "_close_due",
        "_conditions",
        "_decoder",
        "_handler",
        "_message_due",
        "_paused",
        "_pending",
        "_ping_due",
        "_pong_due",
        "_room",
        "_sent",
        "_state",
        "_transport",
        "_unanswered_ping",
        "_undelivered",
        "_write_due",
        "_write_mark",
        "blocked",
        "wheel_tick",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        handler: Handler,
        conditions: "Conditions[Connection]",
        sent: SentCounter,
    ) -> None:
        self._transport = transport
        self._handler: Handler = handler
        self._conditions = conditions
        self._sent = sent
        self._decoder = FrameDecoder(conditions.rooms.whole, conditions.max_message)
        self._room = conditions.rooms.narrow
        self._state = _OPEN
        self._paused = False
        self._pending: Backlog | None = None
        self._undelivered = 0
        self._unanswered_ping: bytes | None = None
        self._close_due = self._message_due = self._pong_due = self._write_due = 0.0
        self._write_mark = 0
        self.blocked = False
        self.wheel_tick = 0
        self._ping_due = conditions.wheel.now + conditions.intervals.ping
        conditions.wheel.at(self, self._ping_due)
        transport.set_write_buffer_limits(high=0)
        # uvloop keeps hold of the last protocol's data_received beside a buffered one's methods;
        # without this the request head's parser lives as long as the connection (1.1 KB).
        transport.set_protocol(_NO_PROTOCOL)
        transport.set_protocol(self)
        if transport.get_write_buffer_size():
            # Answers to earlier requests that the peer does not take: HTTP was told, we were not.
            self._now_blocked()

    @property
    def is_open(self) -> bool:
        """Whether frames may still be sent: no close frame has gone either way."""
        return self._state == _OPEN

    @property
    def unsent(self) -> int:
        """Bytes held in this process for the peer, queued frames with their charge."""
        held = self._transport.get_write_buffer_size()
        return held if self._pending is None else held + self._pending.charged

    # -- incoming ---------------------------------------------------------------------------

    def buffer_updated(self, nbytes: int) -> None:
        if nbytes < len(self._room):
            self.process_read(nbytes)
        else:
            self._room_filled(self._conditions.rooms, nbytes)

    @property
    def receive_buffer(self) -> memoryview:
        return self._conditions.rooms.whole

    def process_read(self, nbytes: int) -> int:
        message = self._decoder.lone_message(nbytes) if self._state == _OPEN else None
        if message is not None:
            self._handler.on_message(message)
        else:
            self._received(self._decoder.buffer_updated(nbytes))
        return nbytes

    @_contained
    def receive(self, data: bytes) -> None:
        """Take bytes that came with the request head, as if read now."""
        if data:
            self._received(self._decoder.feed(data))

    def _received(self, messages: list[bytes]) -> None:
        if messages:
            if self._state == _OPEN:
                self._handler.on_messages(messages)
            else:
                self._handler.on_ignored(len(messages))
        decoder = self._decoder
        if decoder.controls is not None:
            self._take_controls()
        if decoder.unfinished:
            if messages or not self._message_due:
                wheel = self._conditions.wheel
                self._message_due = wheel.now + self._conditions.intervals.message
                wheel.no_later(self, self._message_due)
        elif self._message_due:
            self._message_due = 0.0

    def _take_controls(self) -> None:
        for control in self._decoder.take_controls():
            if isinstance(control, Ping):
                self._answer_ping(control.payload)
            elif isinstance(control, Pong):
                self._pong_due = 0.0
                self._handler.on_pong()
            elif isinstance(control, Closed):
                self._peer_closed(control.code)
            else:
                self._violated(control.close)

    def _violated(self, close: CloseReason) -> None:
        """Fail the connection (RFC 6455 §7.1.7): nothing more is understood, no answer awaited.

        After the close frame our side of TCP ends, so that the peer sees it and hangs up; until
        then what it sends is read and thrown away, since an unread byte would reset the socket.
        """
        self.fail(close)
        if self._state == _CLOSING and not self.blocked:
            self._transport.write_eof()

    def _answer_ping(self, payload: bytes) -> None:
        if self._state != _OPEN:
            return
        if self.blocked:
            # Only the latest needs an answer (RFC 6455 §5.5.3); a queue of pongs would grow.
            self._unanswered_ping = payload
        else:
            self._transport.write(control_frame(Opcode.PONG, payload))

    def _peer_closed(self, code: int | None) -> None:
        """Answer a close frame with its own code and be done (RFC 6455 §5.5.1)."""
        if self._state == _OPEN:
            echo = None if code is None else CloseReason(code, "", Cause.PEER_CLOSED)
            self._transport.write(close_frame(echo))
        self._finish(code)

    def _finish(self, code: int | None) -> None:
        """Both close frames have gone: let the transport flush, but not for ever."""
        if self._state == _CLOSED:
            return
        self._ended(Cause.PEER_CLOSED, code)
        self._transport.close()
        self._arm_close_limit()

    def _ended(self, cause: Cause, code: int | None = None) -> None:
        if self._state == _CLOSED:
            return
        was_open, self._state = self._state == _OPEN, _CLOSED
        handler, self._handler = self._handler, NOBODY
        self._drop_pending()
        if was_open:
            handler.on_closing(cause, code)
        handler.on_closed(code, self._undelivered)

    @_contained
    def pause_reading(self) -> None:
        """Stop reading from the peer: back-pressure. No effect once closing."""
        if self._state == _OPEN and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    @_contained
    def resume_reading(self) -> None:
        """Read on. The peer's deadlines start anew: it could not be heard meanwhile."""
        if not self._paused:
            return
        self._paused = False
        now, intervals = self._conditions.wheel.now, self._conditions.intervals
        if self._pong_due:
            self._pong_due = now + intervals.pong
        if self._message_due:
            self._message_due = now + intervals.message
        self._transport.resume_reading()

    # -- outgoing ---------------------------------------------------------------------------

    def send(self, pieces: Sequence[Piece], frames: int) -> bool:
        """Send ``frames`` whole data frames whose bytes are ``pieces`` end to end.

        Returns whether they were taken: ``False`` once the connection is closing. Frames on which
        the transport fails were taken, and are lost with the connection.
        """
        if self._state != _OPEN:
            return False
        try:
            if self.blocked:
                self._backlog().append(pieces, frames)
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
            self._crashed(error)
        return True

    def send_frame(self, frame: bytes) -> bool:
        """:meth:`send` for one data frame in one piece."""
        if self._state != _OPEN or self.blocked:
            return self.send((frame,), 1)
        sent = self._sent
        sent.forwarded += 1
        sent.forwarded_bytes += len(frame)
        try:
            self._transport.write(frame)
        except Exception as error:
            self._crashed(error)
        return True

    @_contained
    def close(self, close: CloseReason) -> None:
        """Start the close handshake behind everything sent before; no effect once begun."""
        if self._state != _OPEN:
            return
        self.resume_reading()  # to see the peer's close frame
        self._state = _CLOSING
        self._handler.on_closing(close.cause, close.code)
        frame = close_frame(close)
        if self.blocked:
            self._backlog().append((frame,), 0)
        else:
            self._transport.write(frame)
            self._arm_close_limit()

    @_contained
    def fail(self, close: CloseReason) -> None:
        """Start the close handshake at once; what waits is dropped.

        If it had begun and its close frame still waits for its turn, the socket is dropped.
        """
        self._drop_pending()
        if self._state == _OPEN:
            self.close(close)
            self._arm_close_limit()
        else:
            self.abort()

    @_contained
    def abort(self, cause: Cause = Cause.PEER_LOST) -> None:
        """Drop the socket without a word."""
        self._transport.abort()
        self._ended(cause)

    @_contained
    def when_sent(self, stopwatch: Stopwatch) -> None:
        """Stop it once the kernel has all that was sent until now; never if that is dropped."""
        if self._state == _OPEN:
            if self.blocked:
                self._backlog().mark(stopwatch)
            else:
                stopwatch.stop()

    @_contained
    def ping(self) -> None:
        """Send a ping now, ahead of whatever waits; :meth:`Handler.on_pong` tells of the pong."""
        if self.blocked:
            self._backlog().put_first(_PING)
        else:
            self._transport.write(_PING)

    def _backlog(self) -> Backlog:
        if self._pending is None:
            self._pending = Backlog()
        return self._pending

    def _drop_pending(self) -> None:
        """Forget what has not reached the transport, but for the number of its data frames."""
        if self._pending is not None:
            self._undelivered += self._pending.count_frames()
            self._pending = None
            if self._state != _CLOSED:
                self._handler.on_backlog(self.unsent)

    @_contained
    def pause_writing(self) -> None:
        """The kernel did not take all: from here on frames queue.

        A transport calls it again when it has more to send itself than was told.
        """
        if not self.blocked:
            self._now_blocked()
        self._handler.on_backlog(self.unsent)

    def _now_blocked(self) -> None:
        self.blocked = True
        self._write_mark = self._transport.get_write_buffer_size()
        wheel = self._conditions.wheel
        self._write_due = wheel.now + self._conditions.intervals.write
        wheel.no_later(self, self._write_due)

    @_contained
    def resume_writing(self) -> None:
        """The kernel took all there was: give it more, in slices."""
        self.blocked = False
        self._write_due = 0.0
        while self._pending and not self.blocked:
            pieces, frames = self._pending.take(_FLUSH_BYTES)
            self._sent.forwarded += frames
            self._sent.forwarded_bytes += sum(map(len, pieces))
            if pieces:
                self._transport.writelines(pieces)
        if self.blocked:
            return
        self._pending = None
        if self._unanswered_ping is not None and self._state == _OPEN:
            payload, self._unanswered_ping = self._unanswered_ping, None
            self._transport.write(control_frame(Opcode.PONG, payload))
        if self._state == _CLOSING:
            self._arm_close_limit()
        if not self.blocked:
            self._handler.on_backlog(0)

    # -- the end of the transport, and time -------------------------------------------------

    def eof_received(self) -> None:
        """The peer will send no more. Without a close frame it is gone: the transport closes."""
        self._arm_close_limit()

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._ended(_cause_of(exc))
        finally:
            self._conditions.wheel.cancel(self)
            self._conditions.live.discard(self)

    def _crashed(self, error: Exception) -> None:
        """End the connection, one of whose methods has raised; no close frame is sent."""
        report(error)
        try:
            self._transport.abort()
            self._ended(Cause.INTERNAL_ERROR)
        except Exception as another:
            report(another)
            self.connection_lost(error)  # no transport will call it

    def peer_has_left(self) -> bool:
        """Whether the peer has closed its side of TCP, seen without reading what it sent."""
        poll = select.poll()
        try:
            poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
            return bool(poll.poll(0))
        except (OSError, ValueError):  # there is no socket any more
            return True

    def _arm_close_limit(self) -> None:
        if not self._close_due:
            wheel = self._conditions.wheel
            self._close_due = wheel.now + self._conditions.intervals.close
            wheel.no_later(self, self._close_due)

    @_contained
    def on_timer(self) -> None:
        """Look at every deadline, then make the next appointment."""
        now, intervals = self._conditions.wheel.now, self._conditions.intervals
        if self._close_due and now >= self._close_due:
            self.abort()
            return
        if self._write_due and now >= self._write_due:
            self._check_write_progress(now)
        if self._message_due and now >= self._message_due:
            if self._paused:
                self._message_due = now + intervals.message
            else:
                self._message_due = 0.0
                self.fail(MESSAGE_TIMEOUT)
        self._heartbeat(now)
        dues = (
            self._close_due,
            self._write_due,
            self._message_due,
            self._pong_due or self._ping_due,
        )
        self._conditions.wheel.at(self, min(due for due in dues if due))

    def _check_write_progress(self, now: float) -> None:
        # What TLS cannot encrypt yet has a deadline of its own.
        unencrypted = self._transport.get_extra_info(UNENCRYPTED) or 0
        waiting = self._transport.get_write_buffer_size() - unencrypted
        if waiting < self._write_mark or not waiting:
            self._write_mark = waiting
            self._write_due = now + self._conditions.intervals.write
        else:
            self._write_due = 0.0
            self._handler.on_write_stalled()

    def _heartbeat(self, now: float) -> None:
        intervals = self._conditions.intervals
        if self._pong_due and now >= self._pong_due:
            if self._paused:
                self._pong_due = now + intervals.pong
            else:
                self._pong_due = 0.0
                self.fail(HEARTBEAT_TIMEOUT)
        elif not self._pong_due and now >= self._ping_due:
            self._ping_due = now + intervals.ping
            if not self._close_due:
                self._pong_due = now + intervals.pong
                self.ping()


def _cause_of(exc: Exception | None) -> Cause:
    """Why a transport has gone, from what it told ``connection_lost``."""
    if isinstance(exc, Aborted):
        return exc.cause
    return Cause.PEER_LOST if exc is None or isinstance(exc, OSError) else Cause.INTERNAL_ERROR
