"""Relays with a supervisor and workers: started, and seen through pairs of peers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests.support.harness import SECURE, START, relay_with_workers, running_relay
from tests.support.in_subprocess import RelayInSubprocess
from tests.support.peer import HttpClient, Peer, request, upgrade_headers

FAST = {"worker_silent": 1000.0, "worker_hung": 1000.0, "worker_restart": 0.05}
"""A worker that waits for its turn on a machine that does much else is not hung."""

SPARE = 2
"""libuv opens /dev/null in each process that has accepted a connection."""

ATTEMPTS = "ws_upgrade_attempts_total"


@asynccontextmanager
async def workers(
    count: int = 2, *, secure: bool = False, **changed: Any
) -> AsyncIterator[RelayInSubprocess]:
    """A relay with so many workers; ``secure``: it serves TLS."""
    start, tls = START.set(relay_with_workers), SECURE.set(secure)
    try:
        intervals = FAST | changed.pop("intervals", {})
        async with running_relay(workers=count, intervals=intervals, **changed) as relay:
            yield relay
    finally:
        START.reset(start)
        SECURE.reset(tls)


class Pair(NamedTuple):
    """A binary and a phone of it, and the worker that owns them."""

    server_id: str
    owner: int
    binary: Peer
    phone: Peer

    async def converse(self, text: bytes) -> None:
        """Frames go both ways."""
        self.phone.send_text(text)
        envelope = await self.binary.text()
        assert envelope.endswith(b'"frame":' + text + b"}")
        self.binary.send_text(envelope)
        assert await self.phone.text() == text


async def pairs(relay: RelayInSubprocess, count: int) -> list[Pair]:
    """At least so many, and one at least of each worker, with the server-ids ``id0`` and so on."""
    found: list[Pair] = []
    while len(found) < count or {pair.owner for pair in found} < relay.workers.keys():
        name = f"id{len(found)}"
        binary, phone = await relay.binary(name), await relay.phone(name)
        found.append(Pair(name, await relay.owner_of(binary), binary, phone))
        assert await relay.owner_of(phone) == found[-1].owner
    return found


async def binaries_of_all(relay: RelayInSubprocess, count: int) -> list[Peer]:
    """Binaries without phones: at least so many, and one at least of each worker."""
    found: list[Peer] = []
    owners: set[int] = set()
    while len(found) < count or owners < relay.workers.keys():
        found.append(await relay.binary(f"id{len(found)}"))
        owners.add(await relay.owner_of(found[-1]))
    return found


async def only_owner(relay: RelayInSubprocess) -> int:
    """The worker that owns the one connection that there is, also if another one splices it."""
    while True:
        await relay.until(lambda: relay.value("connected_binaries") == 1)
        live = [relay.value("worker_connections", worker=str(i)) for i in relay.workers]
        if sorted(live)[-2:] == [0, 1]:
            return live.index(1)


def accepts(relay: RelayInSubprocess) -> float:
    """Binaries that were accepted."""
    return relay.value(ATTEMPTS, endpoint="server", outcome="accept")


async def is_up(relay: RelayInSubprocess, index: int) -> None:
    """Wait until a worker serves."""
    await relay.until(lambda: relay.value("worker_up", worker=str(index)) == 1)


def ask(client: HttpClient, side: str, server_id: str, *, behind: bytes = b"") -> None:
    """Send the request of a binary (``server``) or a phone (``client``), and bytes behind it."""
    headers = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Version": "1", "X-Pyrycode-Token": "t"}
    client.send(request(f"/v1/{side}", upgrade_headers(headers)) + behind)


async def claim(relay: RelayInSubprocess, server_id: str) -> Peer:
    """A binary that claims a server-id, however often it has to dial."""
    async with asyncio.timeout(40):
        while True:
            client = await relay.http()
            ask(client, "server", server_id)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                status, headers, _ = await client.response()
                if status == 101:
                    return relay.own(Peer(client.reader, client.writer))
                assert (status, headers["retry-after"]) == (503, "2")
            await asyncio.sleep(0.02)
