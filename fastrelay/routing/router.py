"""Gate 6 of admission, and every later change of the phones and binaries that are connected.

The router carries out the decisions of the registry: it tells the peers, starts and cancels grace
timers, counts and logs. Binaries and phones use the router, never the registry.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from fastrelay.config.settings import Intervals
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.policy.registry import AtCap, Claim, Conflict, Grace, NoServer, Registry
from fastrelay.protocol.cause import Cause
from fastrelay.protocol.close_codes import (
    GRACE_EXPIRED,
    NO_SERVER,
    PHONES_AT_CAP,
    RECLAIMED,
    SERVER_IN_USE,
    TAKEN_OVER,
    TRY_AGAIN,
    CloseReason,
)
from fastrelay.protocol.ending import Ending
from fastrelay.routing.binary import Binary
from fastrelay.routing.context import RoutingContext
from fastrelay.routing.liveness_check import LivenessCheck
from fastrelay.routing.phone import Phone

Begin = Callable[[bytes], None]
"""To be called when the 101 is written, with the bytes that came behind the request head."""


class RegistrationEvents(Protocol):
    """Counts how claims and registrations end; one method is called once for each."""

    def server_accept(self) -> None:
        """A binary's claim succeeded."""

    def server_id_conflict(self) -> None:
        """A live binary holds the server-id, close 4409, or a later claim won it, close 1013."""

    def client_accept(self) -> None:
        """A phone was registered."""

    def client_no_server(self) -> None:
        """No binary holds the server-id: close 4404."""

    def client_phones_at_cap(self) -> None:
        """The server-id has the maximum number of phones: close 4429."""


class _GraceTimer:
    """Ends a grace period when its time is over; an item of the timer wheel."""

    __slots__ = ("_grace", "_router", "wheel_tick")

    def __init__(self, grace: Grace, router: "Router") -> None:
        self._router = router
        self._grace = grace
        self.wheel_tick = 0

    def on_timer(self) -> None:
        self._router.grace_over(self._grace)


class Router:
    """Connects the binaries and phones of one relay."""

    def __init__(
        self,
        registry: Registry[Binary, Phone],
        wheel: TimerWheel,
        intervals: Intervals,
        context: RoutingContext,
        events: RegistrationEvents,
    ) -> None:
        self._registry = registry
        self._wheel = wheel
        self._intervals = intervals
        self._events = events
        self._grace_timers: dict[Grace, _GraceTimer] = {}
        self._liveness_checks: dict[str, LivenessCheck] = {}
        self._log = context.log
        self.context = context
        self._tallies = context.counters.tallies

    def new_binary(self, server_id: str, version: str, remote: str) -> Binary:
        """A binary that has claimed nothing yet; the caller sets its connection."""
        return Binary(server_id, version, remote, self.context, self)

    def new_phone(self, server_id: str) -> Phone:
        """A phone that is not registered yet; the caller sets its connection."""
        return Phone(server_id, self.context, self)

    # -- binaries ---------------------------------------------------------------------------

    def admit_binary(self, binary: Binary) -> Begin:
        """Claim the server-id for a binary whose 101 is still to be written."""
        try:
            claim = self._registry.claim(binary.server_id, binary)
        except Conflict:
            return partial(self._check_incumbent, binary)
        self._installed(binary, claim)
        return binary.connection.receive

    def _check_incumbent(self, newcomer: Binary, initial_data: bytes) -> None:
        server_id = newcomer.server_id
        incumbent = self._registry.holder(server_id)
        assert incumbent is not None  # it caused the conflict
        check = self._liveness_checks.get(server_id)
        if check is not None:
            check.add(newcomer, initial_data)
            return

        def settle(alive: bool, newcomers: dict[Binary, bytes]) -> None:
            self._liveness_checks.pop(server_id, None)
            if alive:
                self._refuse(newcomers, SERVER_IN_USE)
            else:
                self._take_over(incumbent, newcomers)

        check = LivenessCheck(incumbent, self._wheel, self._intervals.takeover_probe, settle)
        self._liveness_checks[server_id] = check
        check.add(newcomer, initial_data)
        check.ask()

    def _refuse(self, newcomers: dict[Binary, bytes], close: CloseReason) -> None:
        for newcomer, initial_data in newcomers.items():
            newcomer.connection.close(close)
            newcomer.connection.receive(initial_data)
            self._count_refusal(newcomer)

    def _count_refusal(self, newcomer: Binary) -> None:
        self._events.server_id_conflict()
        self._log.limited(
            "server_id_conflict",
            level="info",
            server_id=newcomer.server_id,
            remote=newcomer.remote,
        )

    def _take_over(self, incumbent: Binary, newcomers: dict[Binary, bytes]) -> None:
        """Give a dead incumbent's server-id to the latest newcomer that is still connected.

        An earlier one may be an attempt that its binary has abandoned. The others are closed with
        1013 and may try again. They do not get 4409, after which binaries give up, because no live
        binary had the server-id.
        """
        for newcomer in reversed(tuple(newcomers)):
            if not newcomer.connection.is_open or newcomer.connection.peer_has_left():
                continue
            initial_data = newcomers.pop(newcomer)
            claim = self._registry.take_over(newcomer.server_id, incumbent, newcomer)
            self._tallies.takeovers += 1
            if incumbent.connection.is_open:
                incumbent.connection.fail(TAKEN_OVER)
            self._log.info(
                "server_id_takeover", server_id=newcomer.server_id, remote=newcomer.remote
            )
            self._installed(newcomer, claim)
            newcomer.connection.resume_reading()
            newcomer.connection.receive(initial_data)
            break
        self._refuse(newcomers, TRY_AGAIN)

    def _installed(self, binary: Binary, claim: Claim[Phone]) -> None:
        binary.conn_id = claim.conn_id
        binary.find_phone = claim.find_phone
        if claim.ended_grace is not None:
            self._wheel.cancel(self._grace_timers.pop(claim.ended_grace))
        self._tallies.evictions += len(claim.evicted)
        for phone in claim.evicted:
            phone.connection.close(RECLAIMED)
        self._events.server_accept()
        self._log.info(
            "server_claimed",
            server_id=binary.server_id,
            binary_conn_id=binary.conn_id,
            binary_version=binary.version,
            remote=binary.remote,
        )

    def binary_closed(self, binary: Binary, ending: Ending) -> None:
        """A binary's connection begins to end: its server-id goes into grace if it held one."""
        check = self._liveness_checks.get(binary.server_id)
        if check is not None and check.discard(binary):
            self._count_refusal(binary)
            return
        if not binary.conn_id:
            return
        self._log.info(
            "binary_forwarder_read_end",
            server_id=binary.server_id,
            binary_conn_id=binary.conn_id,
            err=ending.text,
        )
        if ending.cause is Cause.USELESS_FRAMES:
            self._log.limited(
                "useless_frames", server_id=binary.server_id, binary_conn_id=binary.conn_id
            )
        grace = self._registry.release(binary.server_id, binary)
        if grace is not None:
            timer = self._grace_timers[grace] = _GraceTimer(grace, self)
            self._wheel.after(timer, self._intervals.grace)
        self._log.info("server_released", server_id=binary.server_id, binary_conn_id=binary.conn_id)

    def grace_over(self, grace: Grace) -> None:
        """The time of a grace period is over: remove the server-id and close its phones."""
        self._grace_timers.pop(grace, None)
        phones = self._registry.expire(grace)
        if phones is None:
            return
        self._tallies.grace_expiries += 1
        for phone in phones:
            phone.connection.close(GRACE_EXPIRED)

    # -- phones -----------------------------------------------------------------------------

    def admit_phone(self, phone: Phone, device_name: str, remote: str) -> Begin:
        """Register a phone whose 101 is still to be written."""
        try:
            conn_id, binary = self._registry.register(phone.server_id, phone)
        except NoServer:
            return partial(self._refuse_without_server, phone, remote)
        except AtCap:
            return partial(self._refuse_at_cap, phone, remote)
        if binary is not None:
            phone.server_id = binary.server_id  # one string for all of them
        phone.registered(conn_id, None if binary is None else binary.connection)
        self._events.client_accept()
        self._log.info(
            "phone_registered",
            server_id=phone.server_id,
            conn_id=conn_id,
            device_name=device_name,
            remote=remote,
        )
        return phone.connection.receive

    def _refuse_without_server(self, phone: Phone, remote: str, initial_data: bytes) -> None:
        phone.connection.close(NO_SERVER)
        phone.connection.receive(initial_data)
        self._events.client_no_server()
        self._log.limited(
            "phone_register_no_server", level="info", server_id=phone.server_id, remote=remote
        )

    def _refuse_at_cap(self, phone: Phone, remote: str, initial_data: bytes) -> None:
        phone.connection.close(PHONES_AT_CAP)
        phone.connection.receive(initial_data)
        self._events.client_phones_at_cap()
        self._log.limited(
            "phone_register_at_cap", level="info", server_id=phone.server_id, remote=remote
        )

    def phone_closed(self, phone: Phone, ending: Ending) -> None:
        """A phone's connection begins to end: tell its binary, unless that asked for it."""
        if not phone.conn_id:
            return
        self._log.info(
            "phone_forwarder_read_end",
            server_id=phone.server_id,
            conn_id=phone.conn_id,
            err=ending.text,
        )
        if ending.cause is Cause.USELESS_FRAMES:
            self._log.limited("useless_frames", server_id=phone.server_id, conn_id=phone.conn_id)
        if self._registry.unregister(phone.server_id, phone.conn_id, phone):
            # Still registered, so the holder is the binary it registered with.
            binary = self._registry.holder(phone.server_id)
            if binary is not None and not phone.close_requested:
                binary.tell_closed(phone, ending.notice_code)
        self._log.info("phone_unregistered", server_id=phone.server_id, conn_id=phone.conn_id)
