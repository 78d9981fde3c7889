"""A relay that is hurt while others use it: they must notice nothing, and nothing may be left."""

import asyncio
import ctypes
import gc
import json
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastrelay.http.connection import HttpProtocol
from fastrelay.policy.registry import Grace
from fastrelay.routing.binary import Binary
from fastrelay.routing.liveness_check import LivenessCheck
from fastrelay.routing.phone import Phone
from fastrelay.websocket.connection import Connection
from tests.support.certificates import authority
from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import PING, PONG, TEXT, Peer, client_frame

PAIRS = 3
UPGRADED = {"accept", "reject_409", "reject_404", "reject_429"}
"""Outcomes behind a 101."""

ROUNDS_AFTER = 15
"""Round trips every bystander must still make once the fault has been done."""

SHORT = {"grace": 0.1, "close": 0.2}
"""Intervals for faults; the others stay long unless a test is about them, so that nobody is slow by
accident."""


MARGIN = 8 * 1024 * 1024
"""Bytes by which the process's resident memory may differ when a fault is over: what its allocators
keep. The peers live in the same process, so what they held must have gone as well."""


class Bystander:
    """A binary and a phone that exchange frames all the time and check every byte."""

    def __init__(self, binary: Peer, phone: Peer, seed: int) -> None:
        self._binary = binary
        self._phone = phone
        self._random = random.Random(seed)
        self.rounds = 0

    async def run(self) -> None:
        """Round trips until cancelled; raises at the first byte that is not right."""
        while True:
            size = self._random.choice((1, 100, 126, 5_000, 70_000))
            frame = json.dumps([self.rounds, "b" * size]).encode()
            self._phone.send_text(frame)
            envelope = await answering_pings(self._binary)
            conn_id = json.loads(envelope)["conn_id"].encode()
            assert envelope == b'{"conn_id":"%b","frame":%b}' % (conn_id, frame)
            self._binary.send_text(envelope)
            assert await answering_pings(self._phone) == frame
            self.rounds += 1
            await asyncio.sleep(0.002)


async def bystander(relay: RunningRelay, number: int) -> Bystander:
    """A pair of a tenant's own; over TLS every other one speaks version 1.2."""
    usual = relay.tls
    if usual and number % 2:
        relay.tls = authority().context()
        relay.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        name = f"b{number}"
        return Bystander(await relay.binary(name), await relay.phone(name), number)
    finally:
        relay.tls = usual


async def answering_pings(peer: Peer) -> bytes:
    """The next text message; pings before it are answered."""
    while (frame := await peer.frame()).opcode == PING:
        peer.send(client_frame(frame.payload, PONG))
    assert frame.opcode == TEXT, frame
    return frame.payload


@asynccontextmanager
async def hurt_relay(
    intervals: dict[str, float] | None = None,
    limits: dict[str, Any] | None = None,
    *,
    margin: int = MARGIN,
    **settings: Any,
) -> AsyncIterator[RunningRelay]:
    """A relay with bystanders; afterwards they are checked, and that nothing is left.

    ``margin``: see :data:`MARGIN`. With TLS, the bystanders speak both versions.
    """
    given = SHORT | (intervals or {})
    async with running_relay(intervals=given, limits=limits, **settings) as relay:
        bystanders = [await bystander(relay, n) for n in range(PAIRS)]
        tasks = [asyncio.create_task(bystander.run()) for bystander in bystanders]
        await relay.until(lambda: all(bystander.rounds > 10 for bystander in bystanders))
        before = resident()
        try:
            yield relay
            goals = [bystander.rounds + ROUNDS_AFTER for bystander in bystanders]
            await relay.until(
                lambda: (
                    any(task.done() for task in tasks)
                    or all(b.rounds >= goal for b, goal in zip(bystanders, goals, strict=True))
                )
            )
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
        await relay.close_clients()
        await nothing_left(relay)
        grown = resident() - before
        assert grown < margin, grown


def resident() -> int:
    """Bytes of resident memory, without what is free and not given back yet."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def nothing_left(relay: RunningRelay) -> None:
    """Everybody has gone: no connection, slot, timer or byte remains, and the counts add up."""
    await relay.until(lambda: relay.live == 0 and relay.registry_size == 0)
    await relay.until(lambda: relay.timers == relay.periodic_tasks)
    assert relay.held == relay.buffered == 0
    assert relay.pending == 0
    await asyncio.sleep(0)
    gc.collect()
    kinds = (Connection, Phone, Binary, HttpProtocol, Grace, LivenessCheck)
    assert not [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
    counts_add_up(relay)


def counts_add_up(relay: RunningRelay) -> None:
    """Every attempt is in one cell; every frame that came in was forwarded or dropped."""
    sums: Counter[str] = Counter()
    for (name, labels), value in relay.samples().items():
        sums[name.removeprefix("pyrycode_relay_") + dict(labels).get("direction", "")] += value
    assert sums["ws_upgrade_attempts_total"] == relay.attempts
    for direction in ("phone_to_binary", "binary_to_phone"):
        received = sums[f"frames_received_total{direction}"]
        gone = sums[f"frames_forwarded_total{direction}"] + sums[f"frames_dropped_total{direction}"]
        assert received == gone, direction
    every_close_is_counted(relay)


def every_close_is_counted(relay: RunningRelay) -> None:
    """Of each side as many have ended as were upgraded; all must have gone."""
    upgraded, ended = Counter[str](), Counter[str]()
    for (name, labels), value in relay.samples().items():
        by = dict(labels)
        if name.endswith("connections_closed_total"):
            ended[by["side"]] += int(value)
        elif name.endswith("ws_upgrade_attempts_total") and by["outcome"] in UPGRADED:
            upgraded[{"server": "binary", "client": "phone"}[by["endpoint"]]] += int(value)
    assert ended == upgraded
