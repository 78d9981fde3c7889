"""What a test sees of a relay from outside, be it in the test's own loop or in a process."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any, TypeVar

from tests.support.certificates import authority
from tests.support.peer import TIMEOUT, HttpClient, Peer, open_http, open_peer

Client = TypeVar("Client", bound=HttpClient)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class RunningRelay(ABC):
    """A started relay: its ports, its log, its metrics, and clients for it.

    Attributes:
        port: where it serves.
        metrics_port: where it serves ``/metrics``.
        between_looks: seconds from one look at it to the next while a test waits for something.
    """

    between_looks = 0.001
    port: int
    metrics_port: int

    def __init__(self, *, secure: bool) -> None:
        self.tls = authority().client if secure else None
        self._clients: list[HttpClient] = []
        self.attempts = 0
        """Upgrades made through :meth:`binary` and :meth:`phone`."""

    @property
    def url(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}"

    @property
    @abstractmethod
    def lines(self) -> list[str]:
        """The lines logged so far."""

    @property
    @abstractmethod
    def live(self) -> int:
        """WebSockets whose socket is still held."""

    @abstractmethod
    def samples(self) -> Samples:
        """Every sample that a scrape shows now, by name and labels."""

    @abstractmethod
    async def drain(self) -> None:
        """Let it drain, and wait until it has."""

    def log_of(self, event: str) -> list[str]:
        """The lines logged for one event."""
        return [line for line in self.lines if f" msg={event} " in line.replace("\n", " ")]

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

    async def until(self, condition: Any, timeout: float = TIMEOUT) -> None:
        """Wait until ``condition()`` is true; fails the test if that takes too long."""
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(self.between_looks)
