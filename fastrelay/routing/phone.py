"""A phone: wraps its messages for its binary, and sends it the frames of its binary."""

from typing import Protocol

from fastrelay.policy.held_bytes import Kind
from fastrelay.protocol.close_codes import (
    BACKLOG_FULL,
    INVALID_JSON,
    MEMORY_LIMIT,
    NO_BINARY,
    WRITE_FAILED,
    CloseReason,
    requested_close,
)
from fastrelay.protocol.ending import Ending
from fastrelay.protocol.envelope import (
    SMALL_FRAME,
    InvalidFrame,
    check_frame,
    gather,
    phone_prefix,
    split,
    wrap,
    wrap_small,
)
from fastrelay.routing.context import RoutingContext
from fastrelay.routing.transit_timer import TransitTimer
from fastrelay.routing.uplink import Uplink
from fastrelay.websocket.connection import Connection
from fastrelay.websocket.send_queue import TURN_BYTES


class PhoneRouter(Protocol):
    """The part of the router's interface that a phone uses."""

    def phone_closed(self, phone: "Phone", ending: Ending) -> None:
        """The phone's connection begins to end."""


class Phone:
    """One registered phone.

    Its uplink never changes while it is registered, because a binary that replaces another evicts
    the phones of the other first. It is ``None`` if the phone registered during grace.

    Attributes:
        connection: the phone's connection; set by the code that creates both.
        close_requested: the binary has asked for the close, so it gets no close notice.
    """

    __slots__ = (
        "_address",
        "_context",
        "_counts",
        "_lost_for",
        "_overflow_close",
        "_prefix",
        "_router",
        "close_requested",
        "conn_id",
        "connection",
        "server_id",
        "uplink",
    )

    connection: Connection

    def __init__(self, server_id: str, context: RoutingContext, router: PhoneRouter) -> None:
        self._address = ""
        self._context = context
        self._counts = context.counters.frames.phone_to_binary  # cached: hot path
        self._overflow_close = BACKLOG_FULL
        self._lost_for: CloseReason | None = None
        self._prefix = b""
        self._router = router
        self.close_requested = False
        self.conn_id = ""
        self.server_id = server_id
        self.uplink: Uplink | None = None

    def registered(self, conn_id: str, uplink: Uplink | None) -> None:
        """The registry has taken this phone."""
        # The connection forgets it at its end, when frames may still wait for the binary.
        self._address = self.connection.address
        self.conn_id = conn_id
        self.uplink = uplink
        self._prefix = phone_prefix(conn_id)

    # -- phone to binary --------------------------------------------------------------------

    def on_messages(self, messages: list[bytes]) -> None:
        """Forward one read's messages as one batch; the first bad one ends the connection."""
        counts = self._counts
        if counts.received >= counts.sample_at:
            self._measure_duration(messages)
            return
        counts.received += len(messages)
        valid = 0
        try:
            if len(messages) == 1 and (uplink := self.uplink) is not None:
                # Nearly every read of a conversation: no batch.
                message = messages[0]
                check_frame(message)
                if len(message) < SMALL_FRAME:
                    if not uplink.send_frame(wrap_small(self._prefix, message), self):
                        self._has_no_binary(1)
                else:
                    self._forward(messages)
                return
            for message in messages:
                check_frame(message)
                valid += 1
        except InvalidFrame:
            self._forward(messages[:valid])
            counts.invalid += 1
            counts.closing += len(messages) - valid - 1
            self._context.log.limited(
                "phone_forwarder_marshal_err",
                server_id=self.server_id,
                conn_id=self.conn_id,
                err=INVALID_JSON.reason,
            )
            self.connection.close(INVALID_JSON)
        else:
            self._forward(messages)

    def _measure_duration(self, messages: list[bytes]) -> None:
        """Forward one read's messages and measure how long it takes until the binary has them."""
        self._counts.sample()
        timer = TransitTimer(self._context.counters.durations.phone_to_binary)
        self.on_messages(messages)
        if self.uplink is not None and self.connection.is_open:  # all were forwarded
            self.uplink.notify_when_flushed(timer, self)

    def _forward(self, messages: list[bytes]) -> None:
        uplink, frames = self.uplink, len(messages)
        if not frames:
            return
        if frames > 1 and uplink is not None and uplink.blocked:
            self._forward_in_turns(uplink, messages)
        elif uplink is None or not uplink.send(wrap(self._prefix, messages), frames, self):
            self._has_no_binary(frames)

    def _forward_in_turns(self, uplink: Uplink, messages: list[bytes]) -> None:
        """Queue a batch in parts, since each is sent whole while the siblings wait."""
        left = len(messages)
        for part in split(messages, TURN_BYTES):
            if not self.connection.is_open:  # evicted for what was queued before
                self._counts.backlog_full += left
                return
            if not uplink.send(wrap(self._prefix, part), len(part), self):
                self._has_no_binary(left)
                return
            left -= len(part)

    def on_queued(self, size: int) -> None:
        """Note the number of bytes of the phone's frames that wait for its binary.

        While too many bytes wait for the binary, a phone with waiting frames is not read until
        these have been sent. Other phones are still read, so that they get their turns. Each of
        them adds at most one read.
        """
        self._context.held_bytes.binary_backlogs.hold(self, size)
        connection, uplink = self.connection, self.uplink
        if not connection.is_open:
            return
        if not size:
            connection.resume_reading()
        elif uplink is not None and uplink.unsent > self._context.limits.binary_backlog_bytes:
            connection.pause_reading()

    def _has_no_binary(self, frames: int) -> None:
        """Close the phone, because no binary takes its messages."""
        self._counts.no_peer += frames
        self._context.log.limited(
            "phone_forwarder_no_binary",
            level="info",
            server_id=self.server_id,
            conn_id=self.conn_id,
        )
        self.connection.close(NO_BINARY)

    def on_lost(self, frames: int, others: int) -> None:
        """The binary's connection ended before it took frames of the phone, or the close notice."""
        log, why = self._context.log, "the binary's connection has ended"
        if frames:
            log.limited(
                "phone_forwarder_send_failed",
                level="info",
                server_id=self.server_id,
                conn_id=self.conn_id,
                err=why,
            )
        if others:
            log.limited(
                "phone_close_notice_send_failed",
                level="info",
                server_id=self.server_id,
                conn_id=self.conn_id,
                err=why,
            )

    def on_ignored(self, count: int) -> None:
        """Messages that came after our close frame."""
        counts = self._counts
        counts.received += count
        counts.closing += count

    # -- binary to phone --------------------------------------------------------------------

    def deliver(self, batch: list[bytes]) -> None:
        """Send a batch of text frames, given as header, payload, header, payload, …"""
        frames = len(batch) // 2
        if not self.connection.send(gather(batch), frames):
            self._context.counters.frames.binary_to_phone.closing += frames
            self._log_undelivered("the phone's connection is ending")

    def close_as_requested(self, code: int, batch: list[bytes]) -> None:
        """Send ``batch``, then close behind everything sent, as the binary asked."""
        self.close_requested = True
        self._overflow_close = close = requested_close(code)
        if batch:
            self.deliver(batch)
        self.connection.close(close)
        self._context.log.info(
            "binary_forwarder_phone_closed",
            server_id=self.server_id,
            conn_id=self.conn_id,
            close_code=code,
        )

    def on_backlog(self, unsent: int) -> None:
        """Keep within the phone's own budget and that of all phones."""
        self._context.held_bytes.phone_backlogs.hold(self, unsent)
        if unsent > self._context.limits.phone_backlog_bytes:
            self._overflow("phone backlog full")

    def _overflow(self, why: str) -> None:
        """Drop the backlog, which is too large, and close the phone."""
        if self._lost_for is None:
            self._context.log.limited(
                "binary_forwarder_phone_enqueue_failed",
                level="info",
                server_id=self.server_id,
                conn_id=self.conn_id,
                err=why,
            )
        self._lost_for = BACKLOG_FULL
        self.connection.fail(self._overflow_close)

    def _log_undelivered(self, why: str) -> None:
        """Log that frames for the phone are lost, for another reason than a budget."""
        log = self._context.log
        if self.close_requested:
            log.limited(
                "binary_forwarder_close_frame_send_failed",
                level="info",
                server_id=self.server_id,
                conn_id=self.conn_id,
                close_code=self._overflow_close.code,
                err=why,
            )
        else:
            log.limited(
                "binary_forwarder_phone_send_failed",
                level="info",
                server_id=self.server_id,
                conn_id=self.conn_id,
                err=why,
            )

    # -- the budget of held bytes -----------------------------------------------------------

    def held_for(self, kind: Kind) -> tuple[str, str]:
        """The address that sent bytes of this kind, and the tenant."""
        if kind is Kind.PHONE_BACKLOGS and self.uplink is not None:
            return self.uplink.address, self.server_id
        return self._address, self.server_id

    def evict(self, kind: Kind) -> None:
        """Drop the bytes of this kind and close."""
        if kind is Kind.PHONE_BACKLOGS:
            self._overflow("the budget of held bytes is used up")
            return
        if self.uplink is not None:
            self._counts.backlog_full += self.uplink.drop_waiting(self)
        self.connection.fail(MEMORY_LIMIT)

    def on_write_stalled(self) -> None:
        """The phone acknowledges no bytes: close it."""
        self._lost_for = WRITE_FAILED
        self._log_undelivered("write stalled")
        self.connection.fail(WRITE_FAILED)

    # -- the end ----------------------------------------------------------------------------

    def on_pong(self, payload: bytes) -> None:
        """Do nothing: no other part of the relay waits for a pong of a phone."""

    def on_closing(self, ending: Ending) -> None:
        """The connection begins to end: free the phone's place, and tell its binary."""
        self._context.counters.closes.phones.count(ending.cause, ending.code)
        self._router.phone_closed(self, ending)

    def on_undelivered(self, frames: int) -> None:
        """The backlog was dropped."""
        counts = self._context.counters.frames.binary_to_phone
        if self._lost_for is BACKLOG_FULL:
            counts.backlog_full += frames
        else:
            counts.closing += frames
        if self._lost_for is None:
            self._log_undelivered("the phone's connection has ended")

    def on_closed(self) -> None:
        """The connection has ended."""
        self._context.held_bytes.phone_backlogs.hold(self, 0)
