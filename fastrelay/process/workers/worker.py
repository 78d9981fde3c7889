"""``python -m fastrelay.process.workers.worker``: one worker, started by the supervisor.

It inherits everything that it needs: settings, shared memory, a channel to the supervisor and the
listening sockets of all workers. It ignores the signals that end or reload a relay, because the
supervisor gets them too, and sends orders over the channel. When the supervisor has ended, the
worker drains.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import uvloop

from fastrelay.config.serialised import from_json
from fastrelay.config.settings import Settings, TlsFiles
from fastrelay.log import WHOLE_LINES, Log
from fastrelay.loop.timer_wheel import PeriodicTask
from fastrelay.net.bound_sockets import BoundSockets
from fastrelay.net.listener import Listener
from fastrelay.net.tls.certificates import UnusableCertificate
from fastrelay.policy.shared.flood import SharedFlood
from fastrelay.policy.shared.layout import SharedState
from fastrelay.process.ending import drain
from fastrelay.process.garbage_collection import configure_gc
from fastrelay.process.own_log import own_log
from fastrelay.process.shared_memory import attach
from fastrelay.process.standard_descriptors import occupy_standard_descriptors
from fastrelay.process.workers.channel import Channel, Order, Report, Value
from fastrelay.server.relay import Relay
from fastrelay.server.workers import Workers

SAID_BY_SUPERVISOR = ("certificate_installed",)
SAID_OF_FILES = ("certificate_refused",)
"""What the supervisor says too, if it reads the same files. Of a CA's it reads none."""

IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """What the supervisor gives to a worker.

    Attributes:
        index: the number of the worker.
        public: the listening sockets of all workers, in their order.
        has_push: whether the supervisor sends wakes.
    """

    index: int
    settings: Settings
    shared: SharedState
    channel: socket.socket
    public: list[socket.socket] = field(default_factory=list)
    has_push: bool


def main(arguments: Sequence[str]) -> int:
    """Serve; returns the exit code."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
    occupy_standard_descriptors()
    parser = argparse.ArgumentParser(prog="python -m fastrelay.process.workers.worker")
    for name in ("index", "workers", "settings-fd", "shared-fd", "channel-fd"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--public-fd", type=int, action="append", required=True)
    parser.add_argument("--push", action="store_true")
    options = parser.parse_args(arguments)
    with os.fdopen(options.settings_fd) as file:
        settings = from_json(file.read())
    shared = SharedState(attach(options.shared_fd), options.workers)
    shared.check()
    os.close(options.shared_fd)
    return run(
        Inheritance(
            index=options.index,
            settings=settings,
            shared=shared,
            channel=_inherited(options.channel_fd),
            public=[_inherited(number) for number in options.public_fd],
            has_push=options.push,
        )
    )


def _inherited(descriptor: int) -> socket.socket:
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    return sock


def run(inherited: Inheritance) -> int:
    """Serve in an event loop of its own; returns the exit code."""
    settings, shared, index = inherited.settings, inherited.shared, inherited.index
    interval = settings.intervals.log_flood
    flood = SharedFlood(shared.flood_rows, index, shared.keyed, interval, WHOLE_LINES)
    has_files = isinstance(settings.tls, TlsFiles)
    unsaid = (*SAID_BY_SUPERVISOR, *(SAID_OF_FILES if has_files else ()))
    with own_log(settings, flood, unsaid) as log:
        return uvloop.run(Worker(inherited, log).serve())


class Worker:
    """The life of one worker."""

    def __init__(self, inherited: Inheritance, log: Log) -> None:
        self._inherited = inherited
        self._log = log
        self._ends: asyncio.Queue[None] = asyncio.Queue()
        self._accepting_for: dict[int, Listener] = {}
        self._exit_code = 0

    async def serve(self) -> int:
        """Serve until told to end, or until the supervisor is gone; returns the exit code."""
        inherited, settings = self._inherited, self._inherited.settings
        self._channel = Channel(inherited.channel, self._obey, self._supervisor_gone)
        self._machine = machine = Workers(
            inherited.shared,
            inherited.index,
            settings,
            has_push=inherited.has_push,
            forward=lambda *wake: self._channel.say(Report.WAKE, *wake),
        )
        self._relay = relay = Relay(
            settings,
            self._log,
            machine.counts,
            on_failure=lambda: self._say(Report.FAILED),
            machine=machine,
        )
        machine.attach(relay.live, relay.wheel, relay.pending, relay.scheduler, relay.held)
        asyncio.get_running_loop().set_exception_handler(relay.errors.from_loop)
        self._beat()
        relay.periodic_tasks.append(PeriodicTask(relay.wheel, settings.intervals.tick, self._beat))
        configure_gc()
        self._say(Report.READY)
        await self._ends.get()
        machine.refuse_all()
        self._close_public()
        # The connections of other workers that go through this one are waited for as well.
        await drain(lambda: self._relay.drain(machine.splices), self._ends)
        machine.close()
        await relay.stop()
        self._channel.close()
        return self._exit_code

    def _say(self, report: Report, *values: Value) -> None:
        self._channel.say(report, *values)

    def _beat(self) -> None:
        self._machine.beat(asyncio.get_running_loop().time(), self._relay.wheel.late)
        self._machine.publish()

    def _obey(self, order: str, values: list[Value], sockets: tuple[socket.socket, ...]) -> None:
        if order == Order.SERVE:
            self._start()
        elif order == Order.CONNECT and sockets:
            self._machine.connect(int(values[0]), *sockets)
        elif order == Order.CONNECT:
            self._say(Report.UNCONNECTED, values[0])
        elif order == Order.ACCEPT_FOR:
            self._accept_for(int(values[0]))
        elif order == Order.LEAVE:
            listener = self._accepting_for.pop(int(values[0]), None)
            if listener is not None:
                self._relay.listeners.remove_public(listener)
        elif order == Order.RELOAD:
            self._relay.listeners.reload()
        elif order == Order.PUBLISH:
            self._machine.publish()
            self._say(Report.PUBLISHED, values[0])
        elif order == Order.CLOSE:
            self._close_public()
        elif order == Order.DRAIN:
            self._ends.put_nowait(None)
        elif order == Order.STOP:
            self._ends.put_nowait(None)
            self._ends.put_nowait(None)

    def _start(self) -> None:
        if not self._inherited.public:
            return  # the drain has begun
        try:
            own = self._inherited.public[self._inherited.index]
            self._relay.start(BoundSockets(own.dup()))
        except UnusableCertificate as error:
            # It was replaced since the supervisor looked at it; the next start may find another.
            self._log.error("certificate_refused", err=str(error))
            self._exit_code = 1
            self._ends.put_nowait(None)

    def _accept_for(self, index: int) -> None:
        if index in self._accepting_for or not self._inherited.public:
            return
        try:
            sock = self._inherited.public[index].dup()
        except OSError:
            self._say(Report.NOT_ACCEPTING, index)
        else:
            self._accepting_for[index] = self._relay.listeners.add_public(sock)

    def _close_public(self) -> None:
        """Close the listening sockets. They end when all processes have closed them."""
        for sock in self._inherited.public:
            sock.close()
        self._inherited.public.clear()
        self._relay.listeners.stop_accepting()

    def _supervisor_gone(self) -> None:
        self._ends.put_nowait(None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
