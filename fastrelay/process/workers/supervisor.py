"""The supervisor: binds the sockets, and starts, watches and ends the workers."""

import asyncio
import contextlib
import math
import os
import secrets
import signal
import socket
import time
from dataclasses import replace
from typing import Final

import uvloop

from fastrelay.acme.cache import certificate_file
from fastrelay.config.flags import CREDENTIALS
from fastrelay.config.serialised import to_json
from fastrelay.config.settings import Acme, Renewed, Settings
from fastrelay.log import WHOLE_LINES, Log
from fastrelay.net import packets
from fastrelay.net.bound_sockets import BindFailed, BoundSockets, bind_for_workers
from fastrelay.net.tls.certificates import UnusableCertificate
from fastrelay.policy.ownership import KEY_BYTES
from fastrelay.policy.shared.flood import SharedFlood
from fastrelay.policy.shared.layout import SharedState, size_of
from fastrelay.policy.watch import EarlyDeaths, Restarts, Watch
from fastrelay.process.bind_refusals import refusal_of
from fastrelay.process.early import hold_back_signals
from fastrelay.process.garbage_collection import configure_gc
from fastrelay.process.own_log import own_log
from fastrelay.process.run import (
    EXIT_DRAINED,
    EXIT_LISTENER_FAILED,
    certificate_error,
    log_draining,
    log_startup,
    log_stopped,
)
from fastrelay.process.shared_memory import attach, create
from fastrelay.process.systemd import Notifier
from fastrelay.process.workers.channel import Order, Report, Value
from fastrelay.process.workers.member import Equipment, Member, State, environment_of_workers
from fastrelay.process.workers.services import Services

_CONNECT_AGAIN: Final = 0.5
"""Seconds until a worker that had no descriptor for the sockets to another one gets new ones."""

_SECONDS_TO_END: Final = 3.0
"""The time that a worker may take to end, in addition to its drain, before it is killed."""


def bind_and_supervise(settings: Settings) -> int:
    """Bind every address that the settings name, and run workers; returns the exit code.

    Raises:
        ConfigurationError: an address cannot be bound, or a certificate cannot be used.
    """
    try:
        public, others = bind_for_workers(settings, settings.workers)
    except BindFailed as failure:
        raise refusal_of(failure, settings) from None
    return supervise(settings, public, others)


def supervise(settings: Settings, public: list[socket.socket], others: BoundSockets) -> int:
    """Run workers on bound sockets; see :func:`bind_and_supervise`."""
    memory = create(size_of(settings.workers))
    shared = SharedState(attach(memory), settings.workers)
    shared.initialise(secrets.token_bytes(KEY_BYTES), time.monotonic())
    interval = settings.intervals.log_flood
    rows, index = shared.flood_rows, settings.workers
    flood = SharedFlood(rows, index, shared.keyed, interval, WHOLE_LINES)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, memory)
        stack.callback(others.close)
        for sock in public:
            stack.callback(sock.close)
        log = stack.enter_context(own_log(settings, flood))
        supervisor = Supervisor(settings, public, others, shared, memory, log)
        return uvloop.run(supervisor.run())


def settings_of_workers(settings: Settings) -> Settings:
    """The settings of a worker: without the push credential, and with the certificate's file."""
    tls = settings.tls
    if isinstance(tls, Acme):
        file = certificate_file(tls.cache, tls.domain, tls.directory)
        tls = Renewed(domain=tls.domain, file=file)
    return replace(settings, push=None, tls=tls, metrics_listen=None)


class Supervisor:
    """The life of a relay with several processes.

    Args:
        public: the listening sockets of the workers. They stay open until the drain, because
            connections that wait in a listening socket are reset when it is closed.
        others: the sockets that the supervisor serves on.
        memory: the descriptor of ``shared``.
    """

    def __init__(
        self,
        settings: Settings,
        public: list[socket.socket],
        others: BoundSockets,
        shared: SharedState,
        memory: int,
        log: Log,
    ) -> None:
        self._settings = settings
        self._public = public
        self._others = others
        self._shared = shared
        self._memory = memory
        self._log = log
        self._exit_requests: asyncio.Queue[int]
        self._early_deaths = EarlyDeaths()
        intervals = settings.intervals
        self._watch = Watch(intervals.worker_silent, intervals.worker_hung)
        self._watch_starts = Watch(math.inf, intervals.worker_start)
        self._is_ending = False
        self._started: asyncio.Event
        self._restart_timers: dict[int, asyncio.TimerHandle] = {}
        self._is_well = True

    async def run(self) -> int:
        """Run until a signal, or until it cannot go on; returns the exit code.

        Raises:
            ConfigurationError: a certificate cannot be used.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._exit_requests = asyncio.Queue()
        self._started = asyncio.Event()
        self._changed = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._exit_requests.put_nowait, EXIT_DRAINED)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._members = self._make_members()
        self._services = services = Services(
            self._settings, self._shared, self._members, self._log, self._listener_failed
        )
        loop.set_exception_handler(services.errors.from_loop)
        try:
            services.start(self._others, self._tell_all)
        except UnusableCertificate as error:
            raise certificate_error(error) from None
        for member in self._members:
            self._start(member)
        services.every(self._settings.intervals.tick, self._look)
        notifier = Notifier(os.environ)
        if notifier.watchdog:
            services.every(notifier.watchdog / 2, lambda: self._alive(notifier))
        starting = asyncio.create_task(self._say_when_started(notifier))
        configure_gc()
        exit_code = await self._exit_requests.get()
        starting.cancel()
        notifier.stopping()
        log_draining(self._log, exit_code)
        await self._end()
        await notifier.close()
        log_stopped(self._log)
        hold_back_signals()
        return exit_code

    def _alive(self, notifier: Notifier) -> None:
        """Tell the service manager that the relay works: at least half of its workers do."""
        if self._is_well:
            notifier.alive()

    def _make_members(self) -> list[Member]:
        settings, intervals = self._settings, self._settings.intervals
        equipment = Equipment(
            settings=to_json(settings_of_workers(settings)),
            shared=self._memory,
            public=self._public,
            environment=environment_of_workers(os.environ, [CREDENTIALS]),
            has_push=settings.push is not None,
        )
        return [
            Member(
                index,
                equipment,
                Restarts(intervals.worker_restart, intervals.worker_restart_most),
                self._heard,
                self._died,
            )
            for index in range(settings.workers)
        ]

    async def _say_when_started(self, notifier: Notifier) -> None:
        await self._started.wait()
        await self._services.published()
        log_startup(self._settings, self._log)
        notifier.ready()

    # -- workers come and go ------------------------------------------------------------------

    def _start(self, member: Member) -> None:
        self._restart_timers.pop(member.index, None)
        try:
            member.start()
        except OSError as error:
            self._log.error("worker_not_started", worker=member.index, err=str(error))
            self._start_later(member)

    def _start_later(self, member: Member) -> None:
        delay = member.backoff.delay(self._loop.time())
        member.restarts += 1
        self._restart_timers[member.index] = self._loop.call_later(delay, self._start, member)

    def _heard(self, member: Member, what: str, values: list[Value]) -> None:
        if what == Report.READY:
            self._ready(member)
        elif what == Report.PUBLISHED:
            self._services.heard_published(member, int(values[0]))
        elif what == Report.WAKE:
            server_id, conn_id, token = map(str, values)
            self._services.wake(server_id, conn_id, token)
        elif what == Report.UNCONNECTED:
            other = self._members[int(values[0])]
            self._loop.call_later(_CONNECT_AGAIN, self._connect, member, [other])
        elif what == Report.NOT_ACCEPTING:
            other = self._members[int(values[0])]
            if other.stand_in == member.index:
                other.stand_in = None  # until the next look
        elif what == Report.FAILED:
            self._listener_failed()

    def _listener_failed(self) -> None:
        """A listening socket of a worker or of the supervisor is broken: end."""
        if not self._is_ending:
            self._exit_requests.put_nowait(EXIT_LISTENER_FAILED)

    def _ready(self, member: Member) -> None:
        """Let a worker that is ready serve at once; at the start, only when all workers are."""
        if self._is_ending:
            member.say(Order.DRAIN)
            return
        if self._started.is_set():
            member.say(Order.SERVE)
            self._connect(member)
            self._log.info("worker_restarted", worker=member.index)
        elif all(other.state is State.SERVING for other in self._members):
            for other in self._members:
                other.say(Order.SERVE)
            for other in self._members:
                self._connect(
                    other, [later for later in self._members if later.index > other.index]
                )
            self._started.set()

    def _connect(self, member: Member, others: list[Member] | None = None) -> None:
        """Give a worker that serves sockets to others that do, and those sockets to it."""
        for other in self._members if others is None else others:
            if other is member or {member.state, other.state} != {State.SERVING}:
                continue
            there, back = packets.packet_pair(), packets.packet_pair()
            for one, another, sockets in (
                (member, other, (there[0], back[1])),
                (other, member, (back[0], there[1])),
            ):
                descriptors = (sockets[0].fileno(), sockets[1].fileno())
                one.say(Order.CONNECT, another.index, descriptors=descriptors)
            for sock in (*there, *back):
                sock.close()

    def _died(self, member: Member, before: State, how: str) -> None:
        self._shared.bury(member.index)
        self._services.died(member)
        self._changed.set()
        if self._is_ending:
            return
        self._log.error("worker_died", worker=member.index, err=how)
        if before is State.STARTING and self._early_deaths.are_too_many(self._loop.time()):
            self._log.error("workers_die_before_ready", err="giving up")
            self._is_ending = True  # a worker that dies at the same moment changes nothing
            self._exit_requests.put_nowait(EXIT_LISTENER_FAILED)
            return
        if self._started.is_set():  # before, none accepts yet
            self._stand_in(member)
        # A worker that has died no longer accepts for others.
        for other in self._members:
            if other.stand_in == member.index:
                other.stand_in = None
        self._start_later(member)

    # -- watching -----------------------------------------------------------------------------

    def _look(self) -> None:
        """Find the workers that are silent, and let others accept for them or kill them."""
        if self._is_ending or not self._started.is_set():
            return
        now = self._loop.time()
        serving = [member for member in self._members if member.state is State.SERVING]
        pulses = self._shared.pulses
        verdict = self._watch.look(
            now,
            {member.index: pulses[member.index].cells[0] for member in serving},
            others_are_back=len(serving) == len(self._members),
        )
        self._is_well = verdict.is_well and len(serving) * 2 >= len(self._members)
        for member in self._members:
            if member.state is State.SERVING and member.index not in verdict.silent:
                self._relieve(member)
            else:
                self._stand_in(member, verdict.silent)
        starts = self._watch_starts.look(
            now,
            {
                member.index: member.started_at if member.state is State.STARTING else now
                for member in self._members
            },
            others_are_back=True,
        )
        for hung in (verdict.kill, starts.kill):
            if hung is not None:
                self._log.error("worker_hung", worker=hung)
                self._members[hung].kill()

    def _stand_in(self, member: Member, silent: frozenset[int] = frozenset()) -> None:
        """Let another worker accept from the socket of one that does not."""
        if member.stand_in is not None and member.stand_in not in silent:
            return
        count = len(self._members)
        for step in range(1, count):
            other = self._members[(member.index + step) % count]
            if other.state is State.SERVING and other.index not in silent:
                self._relieve(member)  # from one that is silent now, and will hear it later
                member.stand_in = other.index
                other.say(Order.ACCEPT_FOR, member.index)
                return

    def _relieve(self, member: Member) -> None:
        """Let the worker that accepts in its place, if there is one, stop doing so."""
        if member.stand_in is not None:
            self._members[member.stand_in].say(Order.LEAVE, member.index)
            member.stand_in = None

    # -- for all ------------------------------------------------------------------------------

    def _tell_all(self, order: Order, *values: Value) -> None:
        for member in self._members:
            member.say(order, *values)

    def _reload(self) -> None:
        self._services.reload()
        self._tell_all(Order.RELOAD)

    async def _end(self) -> None:
        """Let all workers drain; a second exit request drops everything at once."""
        self._is_ending = True
        for timer in self._restart_timers.values():
            timer.cancel()
        self._tell_all(Order.CLOSE)
        for sock in self._public:
            sock.close()
        await self._services.published()  # so that nobody accepts when the first peer is told
        self._tell_all(Order.DRAIN)
        limit = self._settings.intervals.drain + self._settings.intervals.close
        ending = asyncio.create_task(self._all_gone(limit + _SECONDS_TO_END))
        second = asyncio.create_task(self._exit_requests.get())
        await asyncio.wait({ending, second}, return_when=asyncio.FIRST_COMPLETED)
        second.cancel()
        if not ending.done():
            self._tell_all(Order.STOP)
            ending.cancel()
            await self._all_gone(self._settings.intervals.close + _SECONDS_TO_END)
        await self._services.stop()

    async def _all_gone(self, limit: float) -> None:
        """Wait until no worker is left, and kill those that take too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._services.wakes_ended(self._settings.intervals.drain)
                await self._none_left()
                return
        for member in self._members:
            member.kill()
        await self._none_left()

    async def _none_left(self) -> None:
        while any(member.state is not State.DOWN for member in self._members):
            self._changed.clear()
            await self._changed.wait()
