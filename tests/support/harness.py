"""A relay in the test's own loop, on ephemeral ports, with its log and its counters in reach."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

from fastrelay.config.settings import Address, Intervals, Limits, Settings
from fastrelay.log import Log
from fastrelay.metrics import make_metrics
from fastrelay.routing.binary import Binary
from fastrelay.server.relay import Relay
from tests.support.certificates import authority, local_certificate
from tests.support.peer import HttpClient, Peer, open_http, open_peer

# Timers are fine-grained in tests. What a test does not shorten itself stays as long as in
# production, so that no timeout fires by accident on a slow machine.
TICK = 0.005
NO_LIMIT = {"upgrade_burst": 0}

SECURE: ContextVar[bool] = ContextVar("SECURE", default=False)
"""Whether relays serve TLS, and peers speak it, where a test does not say."""

Client = TypeVar("Client", bound=HttpClient)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class RunningRelay:
    """A started relay."""

    def __init__(self, relay: Relay, registry: Any, lines: list[str], *, secure: bool) -> None:
        self.relay = relay
        self.tls = authority().client if secure else None
        self.registry = registry
        self.lines = lines
        self._clients: list[HttpClient] = []
        self.attempts = 0
        """Upgrades made through :meth:`binary` and :meth:`phone`."""

    @property
    def port(self) -> int:
        return self.relay.ports[0]

    @property
    def metrics_port(self) -> int:
        return self.relay.ports[1]

    @property
    def url(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}"

    @property
    def live(self) -> int:
        """WebSockets whose socket is still held."""
        return len(self.relay.live)

    @property
    def buffered(self) -> int:
        """Unsent bytes held for phones."""
        return self.relay.router.context.held_bytes.total

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

    def log_of(self, event: str) -> list[str]:
        """The lines logged for one event."""
        return [line for line in self.lines if f" msg={event} " in line.replace("\n", " ")]

    def samples(self) -> Samples:
        """Every sample that a scrape would show now, by name and labels."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.registry.collect()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """One sample; the name goes without the common prefix."""
        return self.samples()[f"pyrycode_relay_{name}", tuple(sorted(labels.items()))]

    async def binary(self, server_id: str = "s1", *, window: int = 0, **headers: str) -> Peer:
        """A connected binary, holding its server-id unless the relay refuses it."""
        self.attempts += 1
        given = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Version": "1.2.3", **headers}
        return self.own(
            await open_peer(self.port, "/v1/server", given, window=window, tls=self.tls)
        )

    async def phone(self, server_id: str = "s1", *, window: int = 0, **headers: str) -> Peer:
        """A connected phone, registered unless the relay refuses it."""
        self.attempts += 1
        given = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Token": "t0k3n", **headers}
        return self.own(
            await open_peer(self.port, "/v1/client", given, window=window, tls=self.tls)
        )

    async def http(self, *, window: int = 0) -> HttpClient:
        """A connection that has sent nothing yet."""
        return self.own(await open_http(self.port, self.tls, window=window))

    def own(self, client: Client) -> Client:
        """Close ``client`` when the relay ends."""
        self._clients.append(client)
        return client

    async def close_clients(self) -> None:
        """Drop every connection opened here."""
        for client in self._clients:
            await client.close()

    def keep_in_process(self, sent: int) -> None:
        """From the next accept on, the kernel takes about ``sent`` bytes for a peer, no more."""
        listener = self.relay.listeners._listeners[0]
        listener._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sent)

    async def until(self, condition: Any, timeout: float = 5.0) -> None:
        """Wait until ``condition()`` is true; fails the test if that takes too long."""
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.001)


@asynccontextmanager
async def running_relay(
    *,
    intervals: dict[str, float] | None = None,
    limits: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[RunningRelay]:
    """A relay with the given settings changed; the rate limit is off unless a test sets it."""
    lines: list[str] = []
    secure = SECURE.get()
    flood = (intervals or {}).get("log_flood", 0.0)
    log = Log(lines.append, "debug", flood_interval=flood)
    metrics = make_metrics()
    relay = Relay(
        replace(
            Settings(
                listen=Address("127.0.0.1", 0),
                tls=local_certificate() if secure else None,
                metrics_listen=Address("127.0.0.1", 0),
                intervals=replace(Intervals(tick=TICK), **(intervals or {})),
                limits=replace(Limits(), **(NO_LIMIT | (limits or {}))),
            ),
            **settings,
        ),
        log,
        metrics,
    )
    relay.start()
    secure = secure or settings.get("tls") is not None
    running = RunningRelay(relay, metrics.registry, lines, secure=secure)
    try:
        yield running
    finally:
        await running.close_clients()
        await relay.stop()
