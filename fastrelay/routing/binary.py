"""A binary: its envelopes go to the phones they name, or ask to close or wake one."""

from collections.abc import Callable, Collection
from typing import Final, Protocol

from fastrelay.config.settings import Limits
from fastrelay.log import Log
from fastrelay.policy.counters.closes import Closes
from fastrelay.policy.counters.durations import Durations
from fastrelay.policy.counters.frames import FrameCounts
from fastrelay.protocol.cause import Cause
from fastrelay.protocol.envelope import (
    SMALL_FRAME,
    Envelope,
    MalformedEnvelope,
    close_notice,
    unwrap,
)
from fastrelay.protocol.frames import text_header
from fastrelay.routing.phone import Phone
from fastrelay.routing.stopwatch import Stopwatch
from fastrelay.routing.waker import Waker
from fastrelay.websocket.connection import Connection

_MAX_LOGGED_ID: Final = 512
"""Characters of an unknown conn_id that are logged; ours are never longer."""

_MOST_BESIDE_FRAME: Final = 4 * 1024
"""Bytes of an envelope that a frame may keep in memory beside its own, which alone are charged."""


class Listener(Protocol):
    """Who waits for a sign of life of a binary: see :mod:`fastrelay.routing.takeover`."""

    def answered(self) -> None:
        """It sent a pong."""

    def gone(self) -> None:
        """Its connection has ended."""


class BinaryRouter(Protocol):
    """What a binary needs of its router."""

    closes: Closes
    counts: FrameCounts
    durations: Durations
    limits: Limits
    log: Log
    waker: Waker

    def phones_of(self, binary: "Binary") -> Collection[Phone]:
        """The phones the binary serves now."""

    def binary_closed(self, binary: "Binary", code: int | None) -> None:
        """The binary's connection has ended; ``code`` is that of the peer's close frame."""


class Binary:
    """One daemon's connection, holding its server-id or trying to.

    Attributes:
        find_phone: the registered phone of a conn_id; set when the claim succeeds.
        holding_back: its phones are not read, because it does not take what they send.
        listener: told of pongs and of the end while a conflicting claim waits.
    """

    __slots__ = (
        "_board",
        "_counts",
        "conn_id",
        "connection",
        "find_phone",
        "holding_back",
        "listener",
        "remote",
        "server_id",
        "version",
    )

    connection: Connection
    """Set by whoever makes the two."""

    def __init__(self, server_id: str, version: str, remote: str, board: BinaryRouter) -> None:
        self._board = board
        self._counts = board.counts.binary_to_phone
        self.conn_id = ""
        self.find_phone: Callable[[str], Phone | None] = _no_phone
        self.holding_back = False
        self.listener: Listener | None = None
        self.remote = remote
        self.server_id = server_id
        self.version = version

    # -- binary to phone --------------------------------------------------------------------

    def on_message(self, message: bytes) -> None:
        """Route the only envelope of a read at once, unless there is anything special about it."""
        counts = self._counts
        if len(message) < SMALL_FRAME and counts.received < counts.sample_at:
            try:
                envelope = unwrap(message)
            except MalformedEnvelope:
                envelope = None
            if envelope is not None and envelope.frame and not envelope.close_code:
                phone = self.find_phone(envelope.conn_id or "")
                if phone is not None:
                    counts.received += 1
                    phone.deliver_small(envelope.frame)
                    return
        self.on_messages([message])

    def on_messages(self, messages: list[bytes]) -> None:
        """Route one read's envelopes: one write per phone, in order, directives in their place."""
        counts = self._counts
        if counts.received >= counts.sample_at:
            self._timed(messages)
            return
        batches: dict[Phone, list[bytes]] = {}
        for message in messages:
            try:
                envelope = unwrap(message)
            except MalformedEnvelope as error:
                self._refuse("binary_forwarder_unmarshal_err", str(error))
                counts.received += 1
                counts.invalid += 1
                continue
            if not envelope.conn_id:
                self._board.waker.wake(self.server_id, self.conn_id, envelope.push_wake)
                continue
            if envelope.frame:
                counts.received += 1
            phone = self.find_phone(envelope.conn_id)
            if phone is None:
                self._unknown(envelope)
                continue
            if envelope.frame:
                frame = envelope.frame
                if len(message) - len(frame) > _MOST_BESIDE_FRAME:
                    # It is a view of its envelope: unknown fields would wait with it, uncharged.
                    frame = frame.copy()
                batches.setdefault(phone, []).extend((text_header(len(frame)), frame))
            if envelope.close_code:
                phone.close_as_directed(envelope.close_code, batches.pop(phone, []))
        for phone, batch in batches.items():
            phone.deliver(batch)

    def _timed(self, messages: list[bytes]) -> None:
        """Route one read's envelopes and measure how long the last one's frame takes."""
        self._counts.sample()
        stopwatch = Stopwatch(self._board.durations.binary_to_phone)
        self.on_messages(messages)
        try:
            last = unwrap(messages[-1])
        except MalformedEnvelope:
            return
        phone = self.find_phone(last.conn_id or "")
        if phone is not None and last.frame:
            phone.connection.when_sent(stopwatch)

    def _refuse(self, event: str, why: str) -> None:
        self._board.log.limited(
            event, server_id=self.server_id, binary_conn_id=self.conn_id, err=why
        )

    def _unknown(self, envelope: Envelope) -> None:
        if envelope.frame:
            self._counts.no_peer += 1
        self._board.log.limited(
            "binary_forwarder_unknown_conn_id",
            server_id=self.server_id,
            conn_id=(envelope.conn_id or "")[:_MAX_LOGGED_ID],
        )

    def on_ignored(self, count: int) -> None:
        """Messages that came after we had closed."""
        counts = self._counts
        counts.received += count
        counts.closing += count

    # -- phone to binary --------------------------------------------------------------------

    def tell_closed(self, phone: Phone, code: int) -> None:
        """Send the close notice of one of this binary's phones."""
        if not self.connection.send((close_notice(phone.conn_id, code),), 0):
            self._board.log.limited(
                "phone_close_notice_send_failed",
                server_id=self.server_id,
                conn_id=phone.conn_id,
                binary_conn_id=self.conn_id,
            )

    def on_backlog(self, unsent: int) -> None:
        """Stop reading the phones while too much waits; read on when all has gone."""
        if not self.holding_back and unsent > self._board.limits.binary_backlog_bytes:
            self.holding_back = True
            for phone in self._board.phones_of(self):
                phone.connection.pause_reading()
        elif self.holding_back and not unsent:
            self._stop_holding_back()

    def _stop_holding_back(self) -> None:
        self.holding_back = False
        for phone in self._board.phones_of(self):
            phone.read_on()
            if self.holding_back:  # what that one had sent already was too much again
                break

    def on_write_stalled(self) -> None:
        """It takes nothing any more: it is gone, and grace applies."""
        self.connection.abort(Cause.WRITE_FAILED)

    # -- life and death ---------------------------------------------------------------------

    def on_pong(self) -> None:
        """Tell whoever waits for it."""
        if self.listener is not None:
            self.listener.answered()

    def on_closing(self, cause: Cause, code: int | None) -> None:
        """The connection's end begins."""
        self._board.closes.binaries.count(cause, code)

    def on_closed(self, code: int | None, undelivered: int) -> None:
        """The connection has ended."""
        self._board.counts.phone_to_binary.closing += undelivered
        if self.holding_back:
            self._stop_holding_back()
        self.find_phone = _no_phone
        self._board.binary_closed(self, code)
        if self.listener is not None:
            self.listener.gone()


def _no_phone(conn_id: str) -> Phone | None:
    """Who has claimed nothing has no phones."""
    return None
