"""What the supervisor serves for all workers: metrics, certificates, push."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from fastrelay.config.settings import Settings
from fastrelay.log import Log
from fastrelay.loop.fair_reads import FairScheduler
from fastrelay.loop.internal_errors import InternalErrors
from fastrelay.loop.newcomers import Newcomers
from fastrelay.loop.timer_wheel import PeriodicTask, TimerWheel
from fastrelay.metrics.relay_wide import RelayWide, WorkerState, expose_relay_wide
from fastrelay.net.accepted import AcceptedSocket
from fastrelay.net.bound_sockets import BoundSockets
from fastrelay.net.listener import Opened
from fastrelay.policy.pending import PendingConnections
from fastrelay.policy.plain_requests import PlainRequests
from fastrelay.policy.shared.layout import SharedState
from fastrelay.process.workers.channel import Order
from fastrelay.process.workers.member import Member, State
from fastrelay.push.fingerprint import Fingerprints
from fastrelay.push.waker import LimitedWaker, make_waker
from fastrelay.server.listeners import Listeners
from fastrelay.server.metrics_page import metrics_page

_PATIENCE: Final = 0.5
"""Seconds that a scrape waits for workers to publish what only they know."""


class Services:
    """See the module.

    Args:
        on_failure: called when one of its own listening sockets is broken.

    Attributes:
        errors: counts exceptions that no part expects.
    """

    def __init__(
        self,
        settings: Settings,
        shared: SharedState,
        members: Sequence[Member],
        log: Log,
        on_failure: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._shared = shared
        self._members = members
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._counters = shared.counters_of(shared.workers)
        self._gauges = shared.gauges_of(shared.workers)
        tallies = self._counters.tallies
        self.errors = InternalErrors(log, tallies)
        intervals = settings.intervals
        self._wheel = TimerWheel(self._loop, intervals.tick)
        self._waker = make_waker(settings, self._counters.wakes, log, Fingerprints(shared.key))
        self._listeners = Listeners(
            settings,
            self._wheel,
            PendingConnections(settings.limits.side_handshakes, tallies),
            FairScheduler(intervals.traffic_slice),
            Newcomers(intervals.newcomers, self._loop.call_soon),
            PlainRequests(None, lambda client, what: None, tallies),
            log,
            on_failure,
            self._counters,
        )
        self._tasks: list[PeriodicTask] = []
        self._rounds = Rounds(members, self._publish)
        self._expires = 0.0

    def start(self, sockets: BoundSockets, tell_all: Callable[[Order], None]) -> None:
        """Begin to serve.

        Args:
            tell_all: tells all workers an order.

        Raises:
            UnusableCertificate: the sockets are closed again.
        """
        self._tell_all = tell_all
        certificates = self._listeners.certificates
        expiry = (lambda: certificates.expires) if self._settings.tls else None
        registry = expose_relay_wide(
            RelayWide(
                sums=self._shared.sums(),
                held_limit=self._settings.limits.held_bytes,
                certificate_expiry=expiry,
                has_push=self._settings.push is not None,
                workers=self._states,
            )
        )
        routes = {"/metrics": metrics_page(registry)}
        self._listeners.open(sockets, {}, routes, self._rounds)
        self._expires = certificates.expires
        intervals = self._settings.intervals
        self.every(intervals.log_flood or intervals.tick, self._log.flush)
        self.every(intervals.bucket_sweep, self._waker.sweep)
        self.every(intervals.tick, self._look_at_certificate)

    def every(self, interval: float, action: Callable[[], None]) -> None:
        """Call ``action`` every ``interval`` seconds until the end."""
        self._tasks.append(PeriodicTask(self._wheel, interval, action))

    # -- metrics ------------------------------------------------------------------------------

    def _publish(self) -> None:
        for place, count in enumerate(self._log.counts()):
            self._gauges.log_lines[place] = count

    def _states(self) -> list[WorkerState]:
        found = []
        for member in self._members:
            pulse = self._shared.pulses[member.index].cells
            found.append(
                WorkerState(
                    pid=member.pid,
                    is_up=member.state is State.SERVING,
                    restarts=member.restarts,
                    connections=self._shared.connections[member.index].counts[0],
                    lag=pulse[1],
                    retired_cpu=member.retired_cpu,
                )
            )
        return found

    async def published(self) -> None:
        """Wait until all workers have published, or some take too long."""
        await self._rounds.complete()

    def heard_published(self, member: Member, number: int) -> None:
        """A worker has published what was asked for with this number."""
        member.published = number
        self._rounds.look()

    def died(self, member: Member) -> None:
        """A worker has died: nothing of it is waited for."""
        self._rounds.look()

    # -- push and certificates ----------------------------------------------------------------

    def wake(self, server_id: str, binary_conn_id: str, device_token: str) -> None:
        """Send a wake that a worker was asked for."""
        if isinstance(self._waker, LimitedWaker):
            self._waker.wake_device(server_id, binary_conn_id, device_token)

    async def wakes_ended(self, limit: float) -> None:
        """Wait for the wakes that are being sent, at most ``limit`` seconds."""
        deadline = self._loop.time() + limit
        while self._waker.in_flight and self._loop.time() < deadline:
            await asyncio.sleep(self._settings.intervals.tick)

    def reload(self) -> None:
        """Look for another certificate now."""
        self._listeners.reload()

    def _look_at_certificate(self) -> None:
        """Tell the workers of a certificate that came from a CA."""
        expires = self._listeners.certificates.expires
        if expires != self._expires:
            self._expires = expires
            self._tell_all(Order.RELOAD)

    async def stop(self) -> None:
        """Stop serving."""
        self._rounds.close()
        await self._listeners.stop()
        await self._waker.stop()
        for task in self._tasks:
            task.cancel()
        self._wheel.close()
        self._log.flush(final=True)


class Rounds:
    """Asks all workers to publish what only they know, before a scrape is answered.

    It is the prelude of the metrics listener: a connection is opened when the round is complete, or
    after half a second. Further scrapes of a connection are at most one tick behind.
    """

    def __init__(self, members: Sequence[Member], publish: Callable[[], None]) -> None:
        self._members = members
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._waiting: dict[int, tuple[Callable[[], None], asyncio.TimerHandle]] = {}
        self._sockets: dict[int, AcceptedSocket] = {}

    def read(self, sock: AcceptedSocket, peer: str, done: Opened) -> None:
        """Open a connection when a round is complete; see :class:`Prelude`."""
        number = self._begin(lambda: done(self._sockets.pop(number), peer))
        self._sockets[number] = sock
        self.look()

    async def complete(self) -> None:
        """Wait for a round."""
        done = asyncio.Event()
        self._begin(done.set)
        self.look()
        await done.wait()

    def _begin(self, then: Callable[[], None]) -> int:
        self._number += 1
        for member in self._members:
            member.say(Order.PUBLISH, self._number)
        self._publish()
        timer = self._loop.call_later(_PATIENCE, self._finish, self._number)
        self._waiting[self._number] = then, timer
        return self._number

    def look(self) -> None:
        """Finish the rounds that are complete."""
        reached = [member.published for member in self._members if member.state is State.SERVING]
        for number in [number for number in self._waiting if all(at >= number for at in reached)]:
            self._finish(number)

    def _finish(self, number: int) -> None:
        then, timer = self._waiting.pop(number)
        timer.cancel()
        then()

    def close(self) -> None:
        """Wait for nothing any more."""
        for _, timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        for sock in self._sockets.values():
            sock.drop()
        self._sockets.clear()
