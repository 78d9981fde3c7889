"""A phone: its messages go to its binary, wrapped; its binary's frames come to it."""

from typing import Protocol

from fastrelay.config.settings import Limits
from fastrelay.log import Log
from fastrelay.policy.counters.closes import Closes
from fastrelay.policy.counters.durations import Durations
from fastrelay.policy.counters.frames import FrameCounts
from fastrelay.policy.held_bytes import BufferBudget
from fastrelay.protocol.cause import Cause
from fastrelay.protocol.close_codes import (
    BACKLOG_FULL,
    INVALID_JSON,
    NO_BINARY,
    WRITE_FAILED,
    directed,
)
from fastrelay.protocol.envelope import (
    SMALL_FRAME,
    InvalidFrame,
    check_frame,
    gather,
    phone_prefix,
    wrap,
    wrap_small,
)
from fastrelay.protocol.frames import text_header
from fastrelay.routing.stopwatch import Stopwatch
from fastrelay.websocket.connection import Connection


class ItsBinary(Protocol):
    """The binary a phone's messages go to, as far as the phone knows it."""

    connection: Connection


class PhoneRouter(Protocol):
    """What a phone needs of its router."""

    budget: BufferBudget
    closes: Closes
    counts: FrameCounts
    durations: Durations
    limits: Limits
    log: Log

    def phone_closed(self, phone: "Phone", code: int | None) -> None:
        """The phone's connection has ended; ``code`` is that of the peer's close frame."""


class Phone:
    """One registered phone.

    Its binary never changes while it is registered: whatever replaces the binary evicts its
    phones first. ``None`` means that it registered during grace.

    Attributes:
        directed: the binary asked for the close, so it is not told of it.
    """

    __slots__ = (
        "_board",
        "_counts",
        "_early",
        "_overflow_close",
        "_overflowed",
        "_prefix",
        "binary",
        "conn_id",
        "connection",
        "directed",
        "server_id",
    )

    connection: Connection
    """Set by whoever makes the two."""

    def __init__(self, server_id: str, board: PhoneRouter) -> None:
        self._board = board
        self._counts = board.counts.phone_to_binary
        self._early = b""
        self._overflow_close = BACKLOG_FULL
        self._overflowed = False
        self._prefix = b""
        self.binary: ItsBinary | None = None
        self.conn_id = ""
        self.directed = False
        self.server_id = server_id

    def registered(self, conn_id: str, binary: ItsBinary | None) -> None:
        """The registry has taken this phone."""
        self.conn_id = conn_id
        self.binary = binary
        self._prefix = phone_prefix(conn_id)

    # -- phone to binary --------------------------------------------------------------------

    def on_message(self, message: bytes) -> None:
        """Forward the only message of a read at once, unless there is anything special about it."""
        counts, binary = self._counts, self.binary
        if binary is None or len(message) >= SMALL_FRAME or counts.received >= counts.sample_at:
            self.on_messages([message])
            return
        try:
            check_frame(message)
        except InvalidFrame:
            self.on_messages([message])
            return
        counts.received += 1
        if not binary.connection.send_frame(wrap_small(self._prefix, message)):
            self._no_binary(1)

    def on_messages(self, messages: list[bytes]) -> None:
        """Forward one read's messages as one batch; the first bad one ends the connection."""
        counts = self._counts
        if counts.received >= counts.sample_at:
            self._timed(messages)
            return
        counts.received += len(messages)
        valid = 0
        try:
            for message in messages:
                check_frame(message)
                valid += 1
        except InvalidFrame:
            self._forward(messages[:valid])
            counts.invalid += 1
            counts.closing += len(messages) - valid - 1
            self.connection.close(INVALID_JSON)
        else:
            self._forward(messages)

    def wait(self, early: bytes) -> None:
        """Be read later: the binary takes nothing now. ``early`` came behind the request head."""
        self._early = early
        self.connection.pause_reading()

    def read_on(self) -> None:
        """The binary takes frames again, or is gone."""
        self.connection.resume_reading()
        early, self._early = self._early, b""
        self.connection.receive(early)

    def _timed(self, messages: list[bytes]) -> None:
        """Forward one read's messages and measure how long it takes until the binary has them."""
        self._counts.sample()
        stopwatch = Stopwatch(self._board.durations.phone_to_binary)
        self.on_messages(messages)
        if self.binary is not None and self.connection.is_open:  # so all of them were forwarded
            self.binary.connection.when_sent(stopwatch)

    def _forward(self, messages: list[bytes]) -> None:
        binary, frames = self.binary, len(messages)
        if not frames:
            return
        if binary is None or not binary.connection.send(wrap(self._prefix, messages), frames):
            self._no_binary(frames)

    def _no_binary(self, frames: int) -> None:
        """Nobody takes what the phone says: let it go."""
        self._counts.no_peer += frames
        self._board.log.limited(
            "phone_forwarder_no_binary", server_id=self.server_id, conn_id=self.conn_id
        )
        self.connection.close(NO_BINARY)

    def on_ignored(self, count: int) -> None:
        """Messages that came after we had closed."""
        counts = self._counts
        counts.received += count
        counts.closing += count

    # -- binary to phone --------------------------------------------------------------------

    def deliver_small(self, frame: bytes) -> None:
        """:meth:`deliver` for one frame of less than :data:`SMALL_FRAME` bytes."""
        if not self.connection.send_frame(b"".join((text_header(len(frame)), frame))):
            self._board.counts.binary_to_phone.closing += 1

    def deliver(self, batch: list[bytes]) -> None:
        """Send a batch of text frames, given as header, payload, …; never blocks the binary."""
        frames = len(batch) // 2
        if not self.connection.send(gather(batch), frames):
            self._board.counts.binary_to_phone.closing += frames

    def close_as_directed(self, code: int, batch: list[bytes]) -> None:
        """Send ``batch``, if any, then close behind everything sent, as the binary asked."""
        repeated, self.directed = self.directed, True
        close = directed(code)
        if not repeated:
            self._overflow_close = close
        if batch:
            self.deliver(batch)
        if repeated:  # without end, maybe: once is worth a line
            return
        self.connection.close(close)
        self._board.log.info(
            "binary_forwarder_phone_closed",
            server_id=self.server_id,
            conn_id=self.conn_id,
            close_code=code,
        )

    def on_backlog(self, unsent: int) -> None:
        """Keep within the budgets, one's own and everybody's."""
        self._board.budget.update(self, unsent)
        if unsent > self._board.limits.phone_backlog_bytes:
            self.overflow()

    def overflow(self) -> None:
        """The backlog is too large: drop it and close."""
        self._overflowed = True
        self.connection.fail(self._overflow_close)

    def on_write_stalled(self) -> None:
        """The phone takes nothing any more."""
        self.connection.fail(WRITE_FAILED)

    # -- the end ----------------------------------------------------------------------------

    def on_pong(self) -> None:
        """Nobody asks a phone for a sign of life but its own heartbeat."""

    def on_closing(self, cause: Cause, code: int | None) -> None:
        """The connection's end begins."""
        self._board.closes.phones.count(cause, code)

    def on_closed(self, code: int | None, undelivered: int) -> None:
        """The connection has ended."""
        counts = self._board.counts.binary_to_phone
        if self._overflowed:
            counts.backlog_full += undelivered
        else:
            counts.closing += undelivered
        self._board.budget.update(self, 0)
        self._board.phone_closed(self, code)
