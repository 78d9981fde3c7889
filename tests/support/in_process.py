"""A relay in the test's own loop, with all of its state in reach."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastrelay.config.settings import Settings
from fastrelay.log import Log
from fastrelay.metrics import Metrics, make_metrics
from fastrelay.net.bound_sockets import bind_all
from fastrelay.routing.binary import Binary
from fastrelay.routing.phone import Phone
from fastrelay.server.relay import Relay
from tests.support.running import RunningRelay, Samples


class RelayInProcess(RunningRelay):
    """See the module."""

    def __init__(self, relay: Relay, metrics: Metrics, lines: list[str], *, secure: bool) -> None:
        super().__init__(secure=secure)
        self.relay = relay
        self.registry = metrics.registry
        self._lines = lines

    @property
    def port(self) -> int:  # type: ignore[override]
        return self.relay.ports[0]

    @property
    def metrics_port(self) -> int:  # type: ignore[override]
        return self.relay.ports[1]

    @property
    def lines(self) -> list[str]:
        return self._lines

    @property
    def live(self) -> int:
        return len(self.relay.live)

    def samples(self) -> Samples:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.registry.collect()
            for sample in family.samples
        }

    async def drain(self) -> None:
        await self.relay.drain()

    # -- what only a test in the same process sees -------------------------------------------

    @property
    def buffered(self) -> int:
        """Unsent bytes held for phones."""
        return self.relay.held.phone_backlogs.total

    @property
    def held(self) -> int:
        """Bytes kept for all peers, of all kinds."""
        return self.relay.held.total

    @property
    def registry_size(self) -> int:
        """Server-ids held or in grace."""
        return len(self.relay.registry)

    @property
    def timers(self) -> int:
        """Appointments with the timer wheel."""
        return len(self.relay.wheel)

    @property
    def periodic_tasks(self) -> int:
        """How many of those are the relay's own; with TLS one looks at the certificate's files."""
        return len(self.relay.periodic_tasks) + (self.tls is not None)

    @property
    def pending(self) -> int:
        """Connections that are not upgraded."""
        return len(self.relay.pending)

    def binary_of(self, server_id: str) -> Binary:
        """The binary that holds a server-id."""
        binary = self.relay.registry.holder(server_id)
        assert binary is not None
        return binary

    def phones_of(self, server_id: str) -> list[Phone]:
        """The phones registered for a server-id."""
        entry = self.relay.registry._entries.get(server_id)
        return [] if entry is None else list(entry.phones.values())

    def is_full(self, server_id: str, phones: int = 1) -> bool:
        """Whether so many phones are not read because frames of theirs wait for the binary."""
        paused = [phone for phone in self.phones_of(server_id) if phone.connection._paused]
        return len(paused) >= phones

    async def pass_time(self, seconds: float) -> None:
        """Let ``seconds`` pass for the relay's deadlines; what came due by then has been done."""
        wheel = self.relay.wheel
        wheel._stalled -= seconds + wheel._tick  # deadlines are rounded up to a tick
        now = wheel._time()
        await self.until(lambda: wheel.now >= now)

    def keep_in_process(self, sent: int) -> None:
        """From the next accept on, the kernel takes about ``sent`` bytes for a peer, no more."""
        listener = self.relay.listeners._listeners[0]
        listener._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sent)
        for role in self.relay.send_buffers:
            self.relay.send_buffers[role] = sent


@asynccontextmanager
async def relay_in_process(settings: Settings, flood: float) -> AsyncIterator[RelayInProcess]:
    """A relay that limits its log to a line in ``flood`` seconds for each event."""
    lines: list[str] = []
    log = Log(lines.append, settings.log_level, flood_interval=flood)
    metrics = make_metrics()
    relay = Relay(settings, log, metrics)
    relay.start(bind_all(settings))
    running = RelayInProcess(relay, metrics, lines, secure=settings.tls is not None)
    try:
        yield running
    finally:
        await running.close_clients()
        await relay.stop()
