"""What takes workers long to show: kills in a row, a storm of attempts with kills, a long pause."""

import asyncio
import contextlib
import json
import os
import random
import select
import signal
import socket
import ssl
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fastrelay.config.settings import Intervals
from tests.support.in_subprocess import RelayInSubprocess
from tests.support.peer import Peer, request, upgrade_headers
from tests.support.running import Samples
from tests.support.workers import (
    ATTEMPTS,
    SPARE,
    Pair,
    ask,
    is_up,
    only_owner,
    pairs,
    workers,
)

pytestmark = pytest.mark.slow

AGAIN = {"worker_restart_most": 0.05, "grace": 0.05}


async def kill(relay: RelayInSubprocess, *victims: int) -> None:
    """Kill workers, and wait until they serve again."""
    pids = {relay.workers[index] for index in victims}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await relay.until(lambda: not pids & set(relay.workers.values()))
    for index in victims:
        await is_up(relay, index)


def totals(samples: Samples) -> Samples:
    """Those that may never go back."""
    endings = ("_total", "_sum", "_count", "_bucket")
    return {key: value for key, value in samples.items() if key[0].endswith(endings)}


def none_has_gone_back(before: Samples, after: Samples) -> bool:
    return all(after[key] >= value for key, value in totals(before).items())


# -- kills in a row --------------------------------------------------------------------------------


async def untouched(relay: RelayInSubprocess, worker: int) -> Pair:
    """A pair that no other worker has accepted or owns."""
    for number in range(1000):
        client = await relay.http_at(worker)
        ask(client, "server", f"untouched{number}")
        assert (await client.response())[0] == 101
        binary = relay.own(Peer(client.reader, client.writer))
        await relay.until(lambda: relay.value("connected_binaries") == 1)
        if await only_owner(relay) == worker:
            break
        await binary.say_goodbye()
        await relay.until(lambda: relay.value("connected_binaries") == 0)
    client = await relay.http_at(worker)
    ask(client, "client", f"untouched{number}")
    assert (await client.response())[0] == 101
    phone = relay.own(Peer(client.reader, client.writer))
    return Pair(f"untouched{number}", worker, binary, phone)


async def converse_on(pair: Pair, count: list[int]) -> None:
    """Frames of all sizes both ways, byte for byte, for ever; ``count``: how many."""
    draw = random.Random(1)
    while True:
        await pair.converse(json.dumps(draw.randbytes(draw.randrange(10_000)).hex()).encode())
        count[0] += 1
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("secure", "turns", "cap"),
    [(False, 25, "connections"), (True, 5, "connections_per_ip")],
    ids=["plain", "tls"],
)
async def test_many_kills_under_traffic_spoil_no_frame_and_leave_nothing_behind(
    secure: bool, turns: int, cap: str
) -> None:
    """Two in each turn; the third worker has all that must go on."""
    async with workers(3, secure=secure, intervals=AGAIN, limits={cap: 20}) as relay:
        count = [0]
        talking = asyncio.create_task(converse_on(await untouched(relay, 2), count))
        for number in range(turns):
            opened = [await relay.binary(f"a{number}-{i}") for i in range(3)]
            opened += [await relay.phone(f"a{number}-{i}") for i in range(3)]
            before, said = relay.samples(), count[0]
            await kill(relay, 0, 1)
            for peer in opened:
                await peer.close()
            await relay.until(lambda said=said: count[0] > said + 1 or talking.done())
            after = relay.samples()
            assert none_has_gone_back(before, after)
            if number == 3:
                early = after
        await relay.until(lambda: relay.value("connected_binaries") == 1)
        await relay.until(lambda: relay.live == 2)
        assert not talking.done()
        talking.cancel()
        late = relay.samples()
        for name, more in (
            ("process_open_fds", 3 * SPARE),
            ("process_resident_memory_bytes", 8 << 20),
        ):
            assert late[name, ()] <= early[name, ()] + more, name
        restarts = [relay.value("worker_restarts_total", worker=w) for w in "012"]
        assert restarts == [turns, turns, 0]
        # Of the cap nothing is lost, and nothing is given twice.
        statuses = []
        for number in range(20):
            client = await relay.http()
            ask(client, "server", f"b{number}")
            statuses.append((await client.response())[0])
        assert statuses == [101] * 18 + [503] * 2


# -- a storm ---------------------------------------------------------------------------------------

BURST = 20
EACH = 24
"""Attempts of one address, one after the other, of which the last are refused."""

ADDRESSES = 10


@dataclass
class Storm:
    """Attempts from several addresses at once, and what their clients saw."""

    relay: RelayInSubprocess
    name: str
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    denied: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    async def blow(self) -> None:
        """Make all attempts."""
        await asyncio.gather(*(self._of_one(f"{self.name}.{n}") for n in range(ADDRESSES)))

    async def _of_one(self, address: str) -> None:
        for number in range(EACH):
            side = ("server", "client", "server")[number % 3]
            headers = {"X-Forwarded-For": address, "X-Pyrycode-Token": "t"}
            headers["X-Pyrycode-Server"] = f"{address}-{number}"
            if number % 3 < 2:
                headers["X-Pyrycode-Version"] = "1"
            outcome = await self._attempt(side, headers)
            self.seen[side, outcome] += 1
            self.denied[address] += outcome == "reject_rate_limit"
            self.lost[address] += outcome == "lost"

    async def _attempt(self, side: str, headers: dict[str, str]) -> str:
        """The outcome as the client sees it; ``lost``: it got no answer, or not all of it."""
        try:
            async with await self.relay.http() as client:
                client.send(request(f"/v1/{side}", upgrade_headers(headers)))
                status = (await client.response())[0]
                if status != 101 or side == "server":
                    return {
                        101: "accept",
                        400: "reject_headers",
                        429: "reject_rate_limit",
                        503: "owner_away",
                    }[status]
                peer = self.relay.own(Peer(client.reader, client.writer))
                assert (await peer.closed(answer=False))[0] == 4404
                return "reject_404"
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return "lost"  # a worker may die within a TLS handshake, too


def counted(relay: RelayInSubprocess) -> Counter[tuple[str, str]]:
    """What the relay has counted of attempts; a refusal of an owner has no endpoint."""
    found: Counter[tuple[str, str]] = Counter()
    for (name, labels), value in relay.samples().items():
        if name.endswith(ATTEMPTS):
            values = dict(labels)
            found[values["endpoint"], values["outcome"]] = int(value)
    found["any", "owner_away"] = int(relay.value("refusals_total", reason="owner_away"))
    return found


def without_endpoint(seen: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """The same, with refusals of owners for both endpoints together."""
    found = Counter(seen)
    found["any", "owner_away"] = sum(found.pop((s, "owner_away"), 0) for s in ("server", "client"))
    return found


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_after_a_storm_with_kills_gauges_are_0_and_counters_what_clients_saw(
    secure: bool,
) -> None:
    """A kill may keep one answer of each worker's turn from being counted, and an answer that was
    counted from being seen; where nobody is killed, all is exact."""
    limits = {"upgrade_burst": BURST, "upgrade_refill": 1e6}
    async with workers(secure=secure, intervals=AGAIN, limits=limits, trusted_proxies=()) as relay:
        storm, kills = Storm(relay, "203.0.113"), 0
        blowing = asyncio.create_task(storm.blow())
        before = relay.samples()
        while not blowing.done():
            await kill(relay, kills % 2)
            kills += 1
            before, earlier = relay.samples(), before
            assert none_has_gone_back(earlier, before)
        await blowing
        await all_is_back(relay)
        first, seen = counted(relay), without_endpoint(storm.seen)
        lost = sum(storm.lost.values())
        for cell in first.keys() | {cell for cell in seen if cell[1] != "lost"}:
            assert seen[cell] - kills <= first[cell] <= seen[cell] + lost, cell
        for address in storm.lost:
            least = EACH - BURST - storm.lost[address]
            assert least <= storm.denied[address] <= EACH - BURST
        calm = Storm(relay, "198.51.100")
        await calm.blow()
        await all_is_back(relay)
        assert counted(relay) - first == without_endpoint(calm.seen)
        assert set(calm.denied.values()) == {EACH - BURST}
        kinds = {"no_server": ["reject_404"], "ratelimit": ["reject_rate_limit"]}
        total = counted(relay)
        for kind, outcomes in kinds.items():
            expected = sum(count for (_, outcome), count in total.items() if outcome in outcomes)
            assert relay.value("register_failures_total", kind=kind) == expected


async def all_is_back(relay: RelayInSubprocess) -> None:
    """Wait until nothing is connected, held or on its way."""
    await relay.until(lambda: relay.live == 0)

    def gauges() -> float:
        names = ("connected_binaries", "connected_phones", "worker_connections", "held_bytes")
        return sum(v for (name, _), v in relay.samples().items() if name[15:] in names)

    await relay.until(lambda: gauges() == 0)


# -- a pause ---------------------------------------------------------------------------------------


async def test_after_a_pause_of_half_a_minute_no_worker_is_killed() -> None:
    defaults = Intervals()
    intervals = {name: getattr(defaults, name) for name in ("worker_silent", "worker_hung")}
    async with workers(3, intervals=intervals) as relay:
        made = await pairs(relay, 6)
        pids = relay.workers
        everybody = [relay.pid, *pids.values()]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(30.0)
        late = pids[2]
        for pid in everybody:
            if pid != late:
                os.kill(pid, signal.SIGCONT)
        relay.samples()  # the supervisor sees the others, and has not heard of the late one since
        os.kill(late, signal.SIGCONT)
        for pair in made:
            await pair.converse(b'"awake"')
        assert relay.workers == pids
        assert not relay.log_of("worker_hung")


async def test_the_watchdog_hears_nothing_while_most_workers_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        async with workers(3, intervals={"worker_hung": 3.0}) as relay:
            while await loop.sock_recv(systemd, 100) != b"READY=1":
                pass
            pids = list(relay.workers.values())
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                # The first that is overdue may be killed, as long as the others are not.
                await relay.until(lambda: says_nothing(systemd))
            finally:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
            assert await loop.sock_recv(systemd, 100) == b"WATCHDOG=1"


def says_nothing(systemd: socket.socket) -> bool:
    """Whether no notification comes for a hundred times as long as from one to the next."""
    with contextlib.suppress(BlockingIOError):
        while systemd.recv(100):
            pass
    return not select.select([systemd], [], [], 1.0)[0]
