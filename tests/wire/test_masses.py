"""Very many of something, against a relay in a process of its own: it must not grow."""

import asyncio
from pathlib import Path

import pytest

from tests.support.peer import open_http, open_peer, request, upgrade_headers
from tests.support.process import RelayProcess, relay_process

MARGIN = 6 * 1024 * 1024
"""Bytes by which resident memory may differ after everybody has gone: allocator slack."""


async def come_and_go(relay: RelayProcess, connections: int) -> None:
    """Connections of every kind, 50 at a time, most of them dropped without a goodbye."""
    places = asyncio.Semaphore(50)

    async def visit(number: int) -> None:
        async with places:
            headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"}
            kind = number % 4
            client = await open_http(relay.port)
            if kind == 1:
                client.send(b"GET /v1/client HTTP/1.1\r\nHost:")
            elif kind == 2:
                client.send(request("/healthz"))
                assert (await client.response())[0] == 200
            elif kind == 3:
                client.send(request("/v1/client", upgrade_headers(headers)))
                assert (await client.response())[0] == 101
            await client.close()

    await asyncio.gather(*(visit(number) for number in range(connections)))


@pytest.mark.slow
async def test_ten_thousand_connections_come_and_go(tmp_path: Path) -> None:
    async with relay_process(tmp_path / "log", "--upgrade-burst", "0") as relay:
        binary = await open_peer(
            relay.port, "/v1/server", {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1"}
        )
        descriptors = relay.descriptors
        await come_and_go(relay, 2_000)
        await settled(relay, descriptors)
        resident = relay.resident
        await come_and_go(relay, 10_000)
        await settled(relay, descriptors)
        assert relay.resident - resident < MARGIN
        await binary.close()


async def settled(relay: RelayProcess, descriptors: int) -> None:
    """Wait until only the binary is connected, and no more than that many files are open."""
    async with asyncio.timeout(40):
        while '"connected_phones":0' not in await relay.get(relay.port, "/healthz"):
            await asyncio.sleep(0.05)
        while relay.descriptors > descriptors:
            await asyncio.sleep(0.05)


async def test_a_flood_of_refusals_is_twenty_lines_of_log_and_a_count(tmp_path: Path) -> None:
    # Of several workers each says how many lines it has suppressed.
    flags = ("--workers", "1", "--upgrade-burst", "5", "--upgrade-refill", "1000")
    async with relay_process(tmp_path / "log", *flags) as relay:
        await flood(relay, 500)
        lines = [line for line in (await relay.logged()).splitlines() if "rate_limited" in line]
        assert len(lines) == 20
        scraped = await relay.get(relay.metrics_port, "/metrics")
        assert 'outcome="reject_rate_limit"} 495.0' in scraped
    lines = [line for line in relay.log.splitlines() if "rate_limited" in line]
    assert len(lines) == 21
    assert 'err="475 more suppressed"' in lines[20]


async def flood(relay: RelayProcess, attempts: int) -> None:
    """Upgrade attempts that are refused for their headers, or for their number."""
    statuses = []
    for _ in range(attempts):
        async with await open_http(relay.port) as client:
            client.send(request("/v1/client"))
            statuses.append((await client.response())[0])
    assert (statuses.count(400), statuses.count(429)) == (5, attempts - 5)


async def test_accept_never_fails_for_want_of_descriptors(tmp_path: Path) -> None:
    async with relay_process(tmp_path / "log", "--upgrade-burst", "0", descriptors=200) as relay:
        silent = [await open_http(relay.port) for _ in range(400)]
        headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1"}
        binary = await open_peer(relay.port, "/v1/server", headers)
        assert '"connected_binaries":1' in await relay.get(relay.port, "/healthz")
        assert relay.descriptors < 100
        assert "accept_paused" not in await relay.logged()
        for client in (*silent, binary):
            await client.close()
