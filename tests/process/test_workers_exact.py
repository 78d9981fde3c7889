"""Exactness over workers: caps, buckets, counters and gauges, under racing attempts and kills."""

import asyncio
import os
import signal
from collections import Counter

from tests.support.in_subprocess import RelayInSubprocess
from tests.support.peer import Peer, client_frame, request, upgrade_headers
from tests.support.workers import ATTEMPTS, accepts, is_up, workers


async def attempt(relay: RelayInSubprocess, server_id: str) -> tuple[int, Peer]:
    client = await relay.http()
    headers = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Version": "1"}
    client.send(request("/v1/server", upgrade_headers(headers)))
    status, _, _ = await client.response()
    return status, relay.own(Peer(client.reader, client.writer))


async def test_a_cap_is_exact_for_one_attempt_after_the_other() -> None:
    for limits in ({"connections": 6}, {"connections": 500, "connections_per_ip": 6}):
        async with workers(limits=limits) as relay:
            made = [await attempt(relay, f"id{number}") for number in range(9)]
            assert [status for status, _ in made] == [101] * 6 + [503] * 3
            await made[2][1].close()
            await relay.until(lambda: relay.value("connected_binaries") == 5)
            assert (await attempt(relay, "again"))[0] == 101
            assert (await attempt(relay, "one more"))[0] == 503


async def test_racing_attempts_pass_a_cap_by_one_a_worker_and_a_bucket_by_one_a_token() -> None:
    limits = {"connections": 20, "upgrade_burst": 30, "upgrade_refill": 1e6}
    async with workers(limits=limits) as relay:
        made = await asyncio.gather(*(attempt(relay, f"id{number}") for number in range(80)))
        seen = Counter(status for status, _ in made)
        assert 20 <= seen[101] <= 20 + 1
        assert 30 <= seen[101] + seen[503] <= 30 * 2
        assert relay.value("connections_refused_total", cap="relay") == seen[503]
        refused = relay.value(ATTEMPTS, endpoint="server", outcome="reject_rate_limit")
        assert refused == seen[429] == 80 - seen[101] - seen[503]


async def test_the_bucket_of_an_address_is_one_for_all_workers() -> None:
    async with workers(limits={"upgrade_burst": 5, "upgrade_refill": 1e6}) as relay:
        made = [(await attempt(relay, f"id{number}"))[0] for number in range(8)]
        assert made == [101] * 5 + [429] * 3
        assert relay.value(ATTEMPTS, endpoint="server", outcome="reject_rate_limit") == 3
        assert relay.value("register_failures_total", kind="ratelimit") == 3


async def test_healthz_and_gauges_count_all_workers_whoever_answers() -> None:
    async with workers() as relay:
        binaries = [await relay.binary(f"id{number}") for number in range(6)]
        owners = {await relay.owner_of(binary) for binary in binaries}
        # The 101 leaves before the owner of the server-id has counted the claim.
        await relay.until(lambda: relay.value("connected_binaries") == 6)
        for _ in range(6):
            client = await relay.http()
            client.send(request("/healthz"))
            assert b'"connected_binaries":6' in (await client.response())[2]
        while owners != {0, 1}:
            binaries.append(await relay.binary(f"id{len(binaries)}"))
            owners.add(await relay.owner_of(binaries[-1]))

        def held() -> float:
            return relay.value("held_bytes", kind="half_messages")

        half = client_frame(b'"' + bytes(50_000))[:1000]  # so short that it comes in one read
        binaries[0].send(half)
        await relay.until(lambda: held() >= 1000)
        one = held()
        for binary in binaries[1:]:
            binary.send(half)
        await relay.until(lambda: held() == one * len(binaries))


async def test_a_storm_with_kills_leaves_no_gauge_and_no_count_behind() -> None:
    async with workers(intervals={"worker_restart_most": 0.05, "grace": 0.05}) as relay:
        seen = 0
        for turn in range(3):
            made = await asyncio.gather(*(attempt(relay, f"{turn}-{n}") for n in range(40)))
            seen += [status for status, _ in made].count(101)
            await relay.until(lambda seen=seen: accepts(relay) == seen)
            os.kill(relay.workers[turn % 2], signal.SIGKILL)
            for _, peer in made:
                await peer.close()
            await relay.until(lambda: relay.value("connected_binaries") == 0)
            await is_up(relay, turn % 2)
        assert accepts(relay) == seen
        await relay.until(lambda: relay.live == 0)
        for kind in ("half_messages", "tls", "phone_backlogs", "binary_backlogs"):
            assert relay.value("held_bytes", kind=kind) == 0
        assert sum(relay.value("worker_connections", worker=w) for w in "01") == 0
