"""A live WebSocket over a transport: what is read, the closing handshake, and deadlines.

Methods that other peers and the event loop call do not raise: see
:mod:`fastrelay.websocket.containment`.
"""

import asyncio
import socket

from fastrelay.loop.fair_reads import LIGHT_BYTES
from fastrelay.loop.internal_errors import report
from fastrelay.net.sockets import TcpBytes, peer_has_left, tcp_bytes, unacknowledged
from fastrelay.policy.held_bytes import Kind
from fastrelay.protocol.cause import Cause
from fastrelay.protocol.close_codes import (
    HEARTBEAT_TIMEOUT,
    MEMORY_LIMIT,
    MESSAGE_TIMEOUT,
    NO_STATUS,
    USELESS_FRAMES,
    CloseReason,
)
from fastrelay.protocol.decoder import Closed, Control, FrameDecoder, Ping, Pong, Violation
from fastrelay.protocol.ending import Ending, closed_by_peer, closed_by_relay, dropped, lost
from fastrelay.protocol.frames import close_frame
from fastrelay.websocket.containment import contained
from fastrelay.websocket.context import ConnectionContext, SentCounter
from fastrelay.websocket.deadlines import Due
from fastrelay.websocket.handler import NULL_HANDLER, Handler
from fastrelay.websocket.sender import Sender
from fastrelay.websocket.states import TRANSITIONS, Event, State

_OPEN, _CLOSING, _CLOSED = State.OPEN, State.CLOSING, State.CLOSED  # cached: hot path


class Connection(Sender):
    """One peer's WebSocket after the 101. It owns its transport."""

    __slots__ = (
        "_acknowledged_closing",
        "_decoder",
        "_paused",
        "_quota",
        "_received_before",
        "_useless_full_at",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        handler: Handler,
        context: ConnectionContext,
        sent: SentCounter,
        sock: socket.SocketType | None = None,
    ) -> None:
        super().__init__(transport, handler, context, sent, sock)
        self._decoder = FrameDecoder(context.scheduler.whole, context.max_message)
        self._quota = context.scheduler.first
        self._paused = False
        self._useless_full_at = 0.0
        self._received_before = self._acknowledged_closing = 0
        transport.set_write_buffer_limits(high=0)
        transport.set_protocol(self)
        if transport.get_write_buffer_size():
            # Responses to earlier requests still wait. HttpProtocol has got the transport's
            # pause_writing(), and this connection will not.
            self._block()
        context.wheel.no_later(self, self._deadlines.ping)

    @property
    def is_open(self) -> bool:
        """Whether frames may still be sent: no close frame has gone either way."""
        return self._state is _OPEN

    # -- incoming ---------------------------------------------------------------------------

    def buffer_updated(self, nbytes: int) -> None:
        if nbytes >= LIGHT_BYTES:
            self._context.scheduler.read(self, nbytes)
            return
        decoder = self._decoder
        was_idle = decoder.idle
        messages = decoder.buffer_updated(nbytes)
        if was_idle and decoder.idle and self._state is _OPEN:
            self._handler.on_messages(messages)  # there are no control frames and no deadline
        else:
            self._received(messages)

    @property
    def receive_buffer(self) -> memoryview:
        return self._context.scheduler.whole

    def process_read(self, nbytes: int) -> None:
        scheduler = self._context.scheduler
        if nbytes < LIGHT_BYTES and not scheduler.keeps(self):
            self._received(self._decoder.buffer_updated(nbytes))
        else:
            scheduler.process(self, nbytes)

    def process_piece(self, data: memoryview, position: int) -> int:
        messages, position = self._decoder.decode_piece(data, position)
        self._received(messages)
        return position

    @contained
    def receive(self, data: bytes) -> None:
        """Process bytes that came with the request head, as if read now."""
        if data:
            self.hold_undecoded(0)
            self._received(self._decoder.feed(data))

    def _received(self, messages: list[bytes]) -> None:
        decoder, deadlines = self._decoder, self._deadlines
        controls = decoder.take_controls() if decoder.controls is not None else ()
        if controls:
            # First, because a message or a control frame may end or block the connection.
            self._answer_pings([ping.payload for ping in controls if isinstance(ping, Ping)])
        if messages:
            if self._state is _OPEN:
                self._handler.on_messages(messages)
            else:
                self._handler.on_ignored(len(messages))
        for control in controls:
            self._take_control(control)
        if controls and self._state is _OPEN:
            # Not of a peer whose close frame or violation is behind the pong: it does not live on.
            for control in controls:
                if isinstance(control, Pong):
                    self._handler.on_pong(control.payload)
        if decoder.useless:
            count, decoder.useless = decoder.useless, 0
            self.count_useless(count)
        if decoder.unfinished:
            if messages or not deadlines.message:
                wheel = self._context.wheel
                deadlines.begin_message(wheel.now + self._context.intervals.message)
                wheel.no_later(self, deadlines.message)
            self.hold_undecoded(decoder.held)
        elif deadlines.message:
            deadlines.message = 0.0
            self.hold_undecoded(0)

    def hold_undecoded(self, size: int) -> None:
        """Note the bytes that are kept of an incomplete message; may end any connection."""
        if self._state is not _CLOSED:
            self._context.held.half_messages.hold(self, size)

    @contained
    def kept_changed(self, size: int) -> None:
        self.hold_undecoded(self._decoder.held + size)

    @contained
    def hold_undecrypted(self, size: int) -> None:
        """Note the bytes of the peer that TLS keeps; may end any connection."""
        if self._state is not _CLOSED:
            self._context.held.tls.hold(self, size)

    def held_for(self, kind: Kind) -> tuple[str, str]:
        """See :class:`fastrelay.policy.held_bytes.Holder`."""
        return self.address, self._handler.server_id

    @contained
    def evict(self, kind: Kind) -> None:
        """Drop the bytes of the peer's incomplete message, and end the connection."""
        self._decoder.discard()
        self._context.scheduler.discard(self)
        self._deadlines.message = 0.0
        self.hold_undecoded(0)
        self._fail_connection(MEMORY_LIMIT)

    def _take_control(self, control: Control) -> None:
        if isinstance(control, Pong):
            self._deadlines.pong = 0.0
        elif isinstance(control, Closed):
            self._peer_closed(control.code)
        elif isinstance(control, Violation):
            self._fail_connection(control.close)

    @contained
    def count_useless(self, count: int) -> None:
        """Count frames that no honest peer sends in large numbers; too many end the connection.

        The limit is a token bucket, stored as the time at which it will be full again.
        """
        now, limits = self._context.wheel.now, self._context.useless
        self._useless_full_at = max(self._useless_full_at, now) + count / limits.refill
        spent = round((self._useless_full_at - now) * limits.refill, 3)  # the sums are not exact
        if spent > limits.burst and self._state is _OPEN:
            self._fail_connection(USELESS_FRAMES)
            # Further frames would cost as much, so the peer is not read until the close deadline.
            self._paused = True
            self._transport.pause_reading()

    def _fail_connection(self, close: CloseReason) -> None:
        """Fail the connection (RFC 6455 §7.1.7); the peer's close frame is not waited for.

        After the close frame the relay ends its side of TCP, so that the peer closes the
        connection. Until then its bytes are read and dropped, because an unread byte in a socket
        that is closed would reset it, and the peer might not see the close frame.
        """
        self.fail(close)
        if self._state is _CLOSING and not self.blocked:
            self._transport.write_eof()

    def _peer_closed(self, code: int | None) -> None:
        """Answer a close frame with its own code and end (RFC 6455 §5.5.1)."""
        if self._state is _OPEN:
            echoed = NO_STATUS if code is None else code
            self._transport.write(close_frame(CloseReason(echoed, "", Cause.PEER_CLOSED)))
        if self._state is not _CLOSED:
            # Both close frames are sent. The transport has until the close deadline to flush.
            self._end(closed_by_peer(code))
            self._transport.close()
            self._arm_close_deadline()

    @contained
    def pause_reading(self) -> None:
        """Stop reading from the peer, as back-pressure; no effect while closing."""
        if self._state is _OPEN and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    @contained
    def resume_reading(self) -> None:
        """Read again. Deadlines for what the peer sends restart, because it was not read."""
        if self._paused:
            self._paused = False
            self._deadlines.restart_after_pause(self._context.wheel.now, self._context.intervals)
            if self._context.scheduler.may_read(self):
                self._transport.resume_reading()

    # -- the closing handshake -------------------------------------------------------------

    @contained
    def close(self, close: CloseReason) -> None:
        """Start the closing handshake behind everything sent before; no effect if it has begun.

        If the code may not be sent, TCP ends there instead.
        """
        if self._state is not _OPEN:
            return
        self.resume_reading()  # to see the peer's close frame
        self._move(Event.CLOSE_SENT)
        self._handler.on_closing(closed_by_relay(close))
        if self._state is _CLOSING:  # what the handler did may have ended it
            self._send_last(close)

    @contained
    def fail(self, close: CloseReason) -> None:
        """Drop everything that waits and start the closing handshake at once.

        If the closing handshake has begun before, the socket is dropped instead.
        """
        self._drop_queue()
        if self._state is _OPEN:
            self.close(close)
            self._arm_close_deadline()
        else:
            self.abort()

    @contained
    def abort(self, cause: Cause = Cause.PEER_LOST) -> None:
        """Drop the socket; no close frame is sent."""
        far = self._context.far_ends.get(self._transport)
        if far is not None:
            far.aborting()
        self._transport.abort()
        self._end(dropped(cause))

    # -- the end, and time ------------------------------------------------------------------

    def eof_received(self) -> None:
        """The peer has ended its side of TCP, so the transport closes after flushing."""
        self._arm_close_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        far = self._context.far_ends.pop(self._transport, None)
        if far is not None:
            exc = far.close(exc)
        try:
            self._end(lost(exc))
        finally:
            self._context.scheduler.discard(self)
            self._context.wheel.cancel(self)
            self._context.live.discard(self)

    def crashed(self, error: Exception) -> None:
        """End the connection, one of whose methods has raised; no close frame is sent."""
        report(error)
        try:
            self._transport.abort()
            self._end(dropped(Cause.INTERNAL_ERROR))
        except Exception as another:
            report(another)
            self.connection_lost(error)  # no transport will call it

    def peer_has_left(self) -> bool:
        """Whether the peer has closed its side of TCP. No bytes are read from the socket."""
        try:
            return peer_has_left(self._sock)
        except Exception as error:
            self.crashed(error)
            return True

    def tcp_bytes(self) -> TcpBytes | None:
        """See :func:`fastrelay.net.sockets.tcp_bytes`; with TLS it is ciphertext that counts."""
        try:
            return tcp_bytes(self._sock)
        except Exception as error:
            self.crashed(error)
            return None

    def unacknowledged(self) -> int:
        """The bytes that cannot be dropped any more, and that the peer has not acknowledged yet."""
        try:
            return self._transport.get_write_buffer_size() + unacknowledged(self._sock)
        except Exception as error:
            self.crashed(error)
            return 0

    def _move(self, event: Event) -> None:
        self._state = TRANSITIONS[self._state][event]

    def _end(self, ending: Ending) -> None:
        """Tell the handler that the connection is over, once."""
        if self._state is _CLOSED:
            return
        was_open = self._state is _OPEN
        self._move(Event.ENDED)
        self._context.held.half_messages.hold(self, 0)
        self._context.held.tls.hold(self, 0)
        self._drop_queue()
        handler, self._handler = self._handler, NULL_HANDLER
        if was_open:
            handler.on_closing(ending)
        handler.on_closed()

    def _arm_close_deadline(self) -> None:
        deadlines, wheel = self._deadlines, self._context.wheel
        if not deadlines.close:
            told = self.tcp_bytes()
            self._acknowledged_closing = 0 if told is None else told.acknowledged
            deadlines.close = wheel.now + self._context.intervals.close
            wheel.no_later(self, deadlines.close)

    def _close_is_under_way(self) -> bool:
        """Whether bytes still have to reach the peer, and it continues to acknowledge bytes."""
        told = self.tcp_bytes()
        if told is None or told.acknowledged <= self._acknowledged_closing:
            return False
        self._acknowledged_closing = told.acknowledged
        return self.unacknowledged() > 0

    @contained
    def stalled(self, seconds: float) -> None:
        """The relay has stalled, and all deadlines have moved by ``seconds``."""
        self._deadlines.stalled(seconds)
        self._context.wheel.no_later(self, self._deadlines.earliest())

    def _has_been_silent(self) -> bool:
        """Whether nothing has come from the peer since the ping that is due to be answered.

        Any byte is a sign of life, whether it was read or not and whatever it is a part of.
        """
        told = self.tcp_bytes()
        return told is None or told.received <= self._received_before

    @contained
    def on_timer(self) -> None:
        """Act on every deadline that has passed, then schedule the next one."""
        wheel, intervals = self._context.wheel, self._context.intervals
        write_due = self._deadlines.write
        for due in self._deadlines.take_due(wheel.now, intervals, paused=self._paused):
            if due is Due.CLOSE:
                if not self._close_is_under_way():
                    self.abort()
                    return
                self._deadlines.close = wheel.now + intervals.close
            elif due is Due.WRITE:
                self._check_write_progress(write_due)
            elif due is Due.MESSAGE:
                self.fail(MESSAGE_TIMEOUT)
            elif due is Due.PONG:
                if self._has_been_silent():
                    self.fail(HEARTBEAT_TIMEOUT)
            else:
                told = self.tcp_bytes()
                self._received_before = 0 if told is None else told.received
                self.ping()
        if self._state is not _CLOSED or self._deadlines.close:
            wheel.at(self, self._deadlines.earliest())
