"""One relay: creates its parts, starts them, drains them and stops them."""

import asyncio
from collections.abc import Callable, Sized

from fastrelay.config.settings import Settings
from fastrelay.http.connection import Route
from fastrelay.log import Log
from fastrelay.loop.fair_reads import FairScheduler
from fastrelay.loop.internal_errors import InternalErrors
from fastrelay.loop.newcomers import Newcomers
from fastrelay.loop.timer_wheel import Deadline, PeriodicTask, TimerWheel
from fastrelay.net.bound_sockets import BoundSockets
from fastrelay.policy.caps import LiveConnections
from fastrelay.policy.held_bytes import HeldBytes, Kind
from fastrelay.policy.pending import PendingConnections
from fastrelay.policy.plain_requests import PlainRequests
from fastrelay.policy.registry import Registry
from fastrelay.policy.token_buckets import Buckets
from fastrelay.protocol.cause import Cause
from fastrelay.protocol.close_codes import SHUTTING_DOWN
from fastrelay.routing.binary import Binary
from fastrelay.routing.context import RoutingContext
from fastrelay.routing.phone import Phone
from fastrelay.routing.router import Router
from fastrelay.server.address_cap import capped_requests
from fastrelay.server.healthz import PATH as HEALTHZ
from fastrelay.server.healthz import healthz
from fastrelay.server.listeners import Listeners
from fastrelay.server.machine import Alone, Counts, Limit, Machine, send_buffers
from fastrelay.server.routes import public_routes
from fastrelay.websocket.connection import Connection
from fastrelay.websocket.context import ConnectionContext, UselessFrames


class Relay:
    """A relay in the running loop.

    :meth:`start` serves on bound sockets; :meth:`drain` closes all connections with a close frame;
    :meth:`stop` drops those that are left. Then no task, timer or socket of the relay exists.

    Args:
        settings: see :class:`Settings`.
        metrics: counts events.
        on_failure: called when a listener fails; the relay should then be drained.
        machine: the other workers.

    Attributes:
        errors, registry, router, waker, live, held, pending, listeners, send_buffers, wheel,
            periodic_tasks: the state of the relay, each part of it in one place.

    Raises:
        ConfigurationError: the certificate cache cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        log: Log,
        metrics: Counts,
        on_failure: Callable[[], None] = lambda: None,
        machine: Machine | None = None,
    ) -> None:
        self._settings, self._log = settings, log
        self._loop = asyncio.get_running_loop()
        self._metrics = metrics
        self._machine = machine = machine or Alone()
        counters, tallies = metrics.counters, metrics.counters.tallies
        self.errors = InternalErrors(log, tallies)
        self.wheel = self._make_wheel()
        self.scheduler = FairScheduler(settings.intervals.traffic_slice)
        self.pending = PendingConnections(settings.limits.handshakes, tallies)
        limits = settings.limits
        self.send_buffers = send_buffers(limits)
        self.live: LiveConnections[Connection] = LiveConnections(
            limits.connections, limits.connections_per_address, tallies, machine.others
        )
        self.registry: Registry[Binary, Phone] = Registry(
            limits.phones, connected=metrics.gauges.connected
        )
        self._buckets = self._make_buckets(
            Limit.UPGRADES, limits.upgrade_burst, limits.upgrade_refill
        )
        self._plain_buckets = self._make_buckets(
            Limit.PLAIN, limits.plain_burst, limits.plain_refill
        )
        self.plain = PlainRequests(self._plain_buckets, self._plain_refused, tallies)
        self.waker = machine.make_waker(settings, counters.wakes, log)
        self.held = self._make_held()
        context = RoutingContext(limits, counters, self.held, self.waker, log)
        self.router = Router(
            self.registry, self.wheel, settings.intervals, context, metrics.upgrades
        )
        self.listeners = Listeners(
            settings,
            self.wheel,
            self.pending,
            self.scheduler,
            self._make_newcomers(),
            self.plain,
            log,
            on_failure,
            counters,
        )
        self.periodic_tasks: list[PeriodicTask] = []

    def _make_wheel(self) -> TimerWheel:
        lag, tick = self._metrics.counters.durations.lag, self._settings.intervals.tick
        return TimerWheel(self._loop, tick, lag.observe, self._has_stalled)

    def _has_stalled(self, seconds: float) -> None:
        tallies = self._metrics.counters.tallies
        tallies.stalls += 1
        tallies.stall_milliseconds += round(seconds * 1000)
        self._log.warning("loop_stalled", duration=round(seconds, 3))
        for connection in self.live:
            connection.stalled(seconds)

    def _make_held(self) -> HeldBytes:
        limits, evicted = self._settings.limits, self._metrics.counters.held_evicted
        held = HeldBytes(limits.held_bytes, limits.message_bytes, self._log_eviction, evicted)
        self._machine.share_budget(held)
        return held

    def _make_buckets(self, limit: Limit, burst: int, refill: float) -> Buckets | None:
        """Buckets for a rate limit; ``None`` if the limit of upgrades is off, which ends all."""
        limits = self._settings.limits
        if not limits.upgrade_burst:
            return None
        make = self._machine.make_buckets
        return make(limit, burst, refill, limits.buckets, self._loop.time)

    def _plain_refused(self, client: str, what: str) -> None:
        self._log.limited("plain_rate_limited", remote=client, err=f"too many {what}")

    def _make_newcomers(self) -> Newcomers:
        return Newcomers(self._settings.intervals.newcomers, self._loop.call_soon)

    @property
    def ports(self) -> list[int]:
        """See :attr:`Listeners.ports`."""
        return self.listeners.ports

    def start(self, sockets: BoundSockets) -> None:
        """Begin to serve on the sockets, which belong to the relay from now on.

        Raises:
            UnusableCertificate: the sockets are closed again.
        """
        certificates = self.listeners.certificates
        metrics = self._machine.expose(
            self._metrics,
            self.held,
            self._log.counts,
            (lambda: certificates.expires) if self._settings.tls else None,
            has_push=self._settings.push is not None,
        )
        self.listeners.open(sockets, self._routes(), metrics)
        intervals = self._settings.intervals
        self.periodic_tasks.append(PeriodicTask(self.wheel, intervals.log_flood, self._log.flush))
        sweeps = [
            *(kept.sweep for kept in (self._buckets, self._plain_buckets) if kept is not None),
            self.waker.sweep,
        ]
        for sweep in sweeps:
            self.periodic_tasks.append(PeriodicTask(self.wheel, intervals.bucket_sweep, sweep))

    def _log_eviction(self, kind: Kind, address: str, tenant: str, size: int) -> None:
        self._log.limited(
            "held_bytes_evicted",
            server_id=tenant,
            remote=address,
            err=f"{size} bytes of {kind.value}, past the budget",
        )

    def _routes(self) -> dict[str, Route]:
        settings, started = self._settings, self._loop.time()
        context = ConnectionContext(
            self.wheel,
            settings.intervals,
            settings.limits.message_bytes,
            self.live,
            self.held,
            self.scheduler,
            UselessFrames(settings.limits.useless_frames, settings.limits.useless_refill),
        )
        endpoints = public_routes(
            self.router,
            context,
            self.live,
            self._buckets,
            capped_requests(settings),
            self._metrics,
            self._log,
            self.send_buffers,
            self._machine,
        )
        health = healthz(
            lambda: self._machine.connected(self._metrics.gauges.connected),
            lambda: self._machine.uptime(started, self._loop.time()),
        )
        return {**endpoints, HEALTHZ: health}

    async def drain(self, others: Sized = ()) -> None:
        """Stop accepting, close all connections with 1001, and wait for them and for all wakes.

        Returns when nothing is left or the drain interval is over, whichever is first.

        Args:
            others: what is waited for as well, until it is empty.
        """
        await self.listeners.close()
        for connection in self.live:
            connection.close(SHUTTING_DOWN)
        over = Deadline(self.wheel, self._settings.intervals.drain)
        while (len(self.live) or self.waker.in_flight or len(others)) and not over.passed:
            await asyncio.sleep(self._settings.intervals.tick)
        over.cancel()

    async def stop(self) -> None:
        """Drop all remaining connections, cancel all wakes, and stop every task and timer."""
        await self.listeners.stop()
        for connection in self.live:
            connection.abort(Cause.SHUTDOWN)
        deadline = self._loop.time() + self._settings.intervals.close
        while (len(self.live) or self.listeners.pending) and self._loop.time() < deadline:
            await asyncio.sleep(0)
        await self.waker.stop()
        for task in self.periodic_tasks:
            task.cancel()
        self.wheel.close()
        self._log.flush(final=True)
