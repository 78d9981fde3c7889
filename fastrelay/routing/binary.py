"""A binary: its envelopes carry frames to phones, or ask to close or to wake a phone."""

from collections.abc import Callable
from typing import Final, Protocol

from fastrelay.protocol.cause import Cause
from fastrelay.protocol.ending import Ending
from fastrelay.protocol.envelope import (
    SMALL_FRAME,
    Envelope,
    MalformedEnvelope,
    close_notice,
    unwrap,
)
from fastrelay.protocol.frames import text_header
from fastrelay.routing.context import RoutingContext
from fastrelay.routing.phone import Phone
from fastrelay.routing.transit_timer import TransitTimer
from fastrelay.websocket.connection import Connection

_MAX_LOGGED_ID: Final = 512
"""Characters of an unknown conn_id that are logged; the relay's own are never longer."""

_MOST_BESIDE_FRAME: Final = 4 * 1024
"""The most bytes of an envelope, beside those of its frame, that a queued frame keeps in memory.

Only the frame's own bytes are charged to the phone's backlog.
"""


class LivenessObserver(Protocol):
    """Observes whether a binary is alive: see :mod:`fastrelay.routing.liveness_check`."""

    def answered(self, payload: bytes) -> None:
        """The binary sent a pong."""

    def gone(self) -> None:
        """The binary's connection has ended."""


class BinaryRouter(Protocol):
    """The part of the router's interface that a binary uses."""

    def binary_closed(self, binary: "Binary", ending: Ending) -> None:
        """The binary's connection begins to end."""


class Binary:
    """The binary on one connection: it holds its server-id, or tries to claim it.

    Attributes:
        connection: the binary's connection; set by the code that creates both.
        find_phone: returns the registered phone with a conn_id; set when the claim succeeds.
        observer: called for pongs and for the end while a conflicting claim waits.
    """

    __slots__ = (
        "_context",
        "_counts",
        "_router",
        "conn_id",
        "connection",
        "find_phone",
        "observer",
        "remote",
        "server_id",
        "version",
    )

    connection: Connection

    def __init__(
        self,
        server_id: str,
        version: str,
        remote: str,
        context: RoutingContext,
        router: BinaryRouter,
    ) -> None:
        self._context = context
        self._counts = context.counters.frames.binary_to_phone  # cached: hot path
        self._router = router
        self.conn_id = ""
        self.find_phone: Callable[[str], Phone | None] = _no_phone
        self.observer: LivenessObserver | None = None
        self.remote = remote
        self.server_id = server_id
        self.version = version

    # -- binary to phone --------------------------------------------------------------------

    def on_messages(self, messages: list[bytes]) -> None:
        """Route the envelopes of one read, in order, with one write per phone."""
        counts = self._counts
        if counts.received >= counts.sample_at:
            self._measure_duration(messages)
            return
        if len(messages) == 1 and len(messages[0]) < SMALL_FRAME:
            # Nearly every read of a conversation is one envelope with nothing but a frame.
            try:
                envelope = unwrap(messages[0])
            except MalformedEnvelope:
                pass
            else:
                frame = envelope.frame
                if frame and not envelope.close_code:
                    phone = self.find_phone(envelope.conn_id or "")
                    if phone is not None:
                        counts.received += 1
                        text = b"".join((text_header(len(frame)), frame))
                        if not phone.connection.send_frame(text):
                            counts.closing += 1
                        return
        batches: dict[Phone, list[bytes]] = {}
        for message in messages:
            try:
                self._route(message, unwrap(message), batches)
            except MalformedEnvelope as error:
                self._context.log.limited(
                    "binary_forwarder_unmarshal_err",
                    server_id=self.server_id,
                    binary_conn_id=self.conn_id,
                    err=str(error),
                )
                counts.received += 1
                counts.invalid += 1
                self.connection.count_useless(1)
        for phone, batch in batches.items():
            phone.deliver(batch)

    def _route(self, message: bytes, envelope: Envelope, batches: dict[Phone, list[bytes]]) -> None:
        """Add an envelope's frame to its phone's batch, and carry out its other requests."""
        if not envelope.conn_id:
            self._context.waker.wake(self.server_id, self.conn_id, envelope.push_wake)
            return
        if envelope.frame:
            self._counts.received += 1
        phone = self.find_phone(envelope.conn_id)
        if phone is None:
            self._unknown(envelope)
            return
        if envelope.frame:
            frame = envelope.frame
            if len(message) - len(frame) > _MOST_BESIDE_FRAME:
                # The frame is a view of its envelope, so it would keep unknown fields in memory.
                frame = frame.copy()
            batches.setdefault(phone, []).extend((text_header(len(frame)), frame))
        if envelope.close_code:
            phone.close_as_requested(envelope.close_code, batches.pop(phone, []))

    def _measure_duration(self, messages: list[bytes]) -> None:
        """Route one read's envelopes and measure how long the last one's frame takes."""
        self._counts.sample()
        timer = TransitTimer(self._context.counters.durations.binary_to_phone)
        self.on_messages(messages)
        try:
            last = unwrap(messages[-1])
        except MalformedEnvelope:
            return
        phone = self.find_phone(last.conn_id or "")
        if phone is not None and last.frame:
            phone.connection.notify_when_flushed(timer)

    def _unknown(self, envelope: Envelope) -> None:
        if envelope.frame:
            self._counts.no_peer += 1
        self._context.log.limited(
            "binary_forwarder_unknown_conn_id",
            server_id=self.server_id,
            conn_id=(envelope.conn_id or "")[:_MAX_LOGGED_ID],
        )

    def on_ignored(self, count: int) -> None:
        """Messages that came after our close frame."""
        counts = self._counts
        counts.received += count
        counts.closing += count

    # -- phone to binary --------------------------------------------------------------------

    def tell_closed(self, phone: Phone, code: int) -> None:
        """Send the close notice of one of this binary's phones, behind that phone's frames."""
        self.connection.send((close_notice(phone.conn_id, code),), 0, phone)

    def on_backlog(self, unsent: int) -> None:
        """Count the unsent bytes that no phone is charged for."""
        self._context.held_bytes.binary_backlogs.pin(self, self.connection.unowned)

    def on_write_stalled(self) -> None:
        """The binary acknowledges no bytes: drop its connection, which begins the grace period."""
        self.connection.abort(Cause.WRITE_FAILED)

    # -- liveness, and the end ----------------------------------------------------------------

    def on_pong(self, payload: bytes) -> None:
        """The peer has sent a pong: tell the observer, if there is one."""
        if self.observer is not None:
            self.observer.answered(payload)

    def on_closing(self, ending: Ending) -> None:
        """The connection begins to end: give up the server-id, which a claim may wait for."""
        self._context.counters.closes.binaries.count(ending.cause, ending.code)
        self.find_phone = _no_phone
        self._router.binary_closed(self, ending)
        if self.observer is not None and ending.cause is not Cause.SHUTDOWN:
            self.observer.gone()

    def on_undelivered(self, frames: int) -> None:
        """Frames of phones were dropped because the connection ends; they say so themselves."""
        self._context.counters.frames.phone_to_binary.closing += frames

    def on_closed(self) -> None:
        """The connection has ended."""
        self._context.held_bytes.binary_backlogs.pin(self, 0)
        if self.observer is not None:
            self.observer.gone()


def _no_phone(conn_id: str) -> Phone | None:
    """The ``find_phone`` of a binary that holds no server-id."""
    return None
