"""Honest peers beside an attack: pairs that talk at a fixed rate, and upgrades one by one.

Each pair and each upgrade dials from an address of its own, so that no limit that an attacker's
address meets is theirs.
"""

import asyncio
import itertools
import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bench.hostile.peer import Peer, join, unverified
from bench.load.pairs import json_text
from bench.load.traffic import percentile
from bench.support.client import Over, Refused
from bench.support.wire import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    binary_handshake,
    client_frame,
    next_frame,
    phone_handshake,
)

PATIENCE: Final = 5.0
"""Seconds an honest client waits for its upgrade, and a message for its answer."""

_UPGRADE_EVERY: Final = 0.7
_NETWORK: Final = "127.0.2"
_PAIR_ADDRESSES: Final = 50
"""Of that network; the upgrades use the others in turn."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What honest peers do while the attack lasts.

    Attributes:
        rate: round trips a second of each pair, of ``size`` bytes.
    """

    port: int
    tls: bool
    seconds: float
    pairs: int = 4
    rate: float = 50.0
    size: int = 256


class Honest(Peer):
    """Answers pings, and hands each message on.

    Args:
        heard: takes a message's payload.
    """

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        super().__init__()
        self._heard = heard
        self._received = bytearray()

    def take(self, data: bytes) -> None:
        self._received += data
        while frame := next_frame(self._received):
            opcode, begin, end = frame
            payload = bytes(self._received[begin:end])
            del self._received[:end]
            if opcode == TEXT:
                self._heard(payload)
            elif opcode in {PING, CLOSE}:
                answer = PONG if opcode == PING else CLOSE
                self.transport.write(client_frame(payload, answer))

    def say(self, payload: bytes) -> None:
        """Send a text message."""
        self.transport.write(client_frame(payload))


class Pair:
    """A phone, and a binary that gives every message back to it.

    Attributes:
        times: seconds of each round trip, from the moment its message was sent.
        late: seconds each message was sent after it was due, which is our own doing.
        wrong: answers that were something else than what was due.
    """

    def __init__(self, size: int) -> None:
        self.times: list[float] = []
        self.late: list[float] = []
        self.wrong = 0
        self._message = json_text(size)
        self._moments: deque[float] = deque()

    async def connect(self, port: int, source: str, tls: bool) -> None:
        """Both sides, and one round trip.

        Raises:
            OSError, Refused, Over, TimeoutError: it does not work.
        """
        context = unverified() if tls else None
        server_id = f"honest-{os.urandom(6).hex()}"
        async with asyncio.timeout(PATIENCE):
            hello = binary_handshake(server_id)
            self._binary = await join(lambda: Honest(self._echo), port, source, context, hello)
            hello = phone_handshake(server_id)
            self._phone = await join(lambda: Honest(self._arrived), port, source, context, hello)
            self._say()
            while self._moments:
                await asyncio.sleep(0.001)
        self.times.clear()

    @property
    def cut(self) -> bool:
        """The relay has ended a side of it."""
        return bool(self._phone.ended or self._binary.ended)

    async def talk(self, rate: float, until: float) -> None:
        """Send at that rate, whatever has come back; then wait for what is on its way."""
        due = time.perf_counter()
        while due < until and not self.cut:
            await asyncio.sleep(due - time.perf_counter())
            self.late.append(time.perf_counter() - due)
            self._say()
            due += 1 / rate
        while self._moments and time.perf_counter() < until + PATIENCE and not self.cut:
            await asyncio.sleep(0.005)

    def unanswered(self) -> list[float]:
        """How long each message that has no answer has waited for it so far."""
        now = time.perf_counter()
        return [now - moment for moment in self._moments]

    def drop(self) -> None:
        """Hang up."""
        self._phone.drop()
        self._binary.drop()

    def _say(self) -> None:
        self._moments.append(time.perf_counter())
        self._phone.say(self._message)

    def _echo(self, envelope: bytes) -> None:
        if json.loads(envelope).get("frame") is not None:
            self._binary.say(envelope)

    def _arrived(self, message: bytes) -> None:
        if message != self._message or not self._moments:
            self.wrong += 1
        else:
            self.times.append(time.perf_counter() - self._moments.popleft())


class Bystanders:
    """All honest peers of one load; a part of :mod:`bench.hostile.process`."""

    def __init__(self, plan: Beside) -> None:
        self._plan = plan
        self._pairs = [Pair(plan.size) for _ in range(plan.pairs)]
        self._tls = unverified() if plan.tls else None
        self._upgrades: list[float] = []
        self._outcomes: Counter[str] = Counter()
        self._numbers = itertools.count()

    async def set_up(self) -> None:
        """Every pair, with a round trip each."""
        for number, pair in enumerate(self._pairs, 1):
            await pair.connect(self._plan.port, f"{_NETWORK}.{number}", self._plan.tls)

    async def run(self, stop: asyncio.Event) -> None:
        """Talk and dial for as long as planned; no answer is waited for longer than that."""
        both: tuple[asyncio.Task[Any], ...] = (
            asyncio.create_task(self._work()),
            asyncio.create_task(stop.wait()),
        )
        working, ending = both
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if working.done():
            working.result()
        working.cancel()

    async def _work(self) -> None:
        due = begun = time.perf_counter()
        until = begun + self._plan.seconds
        async with asyncio.TaskGroup() as group:
            for number, pair in enumerate(self._pairs):
                await asyncio.sleep(number * 0.003)  # not all in one turn of the relay's loop
                group.create_task(pair.talk(self._plan.rate, until))
            while due < until:
                await asyncio.sleep(due - time.perf_counter())
                group.create_task(self._upgrade())
                due += _UPGRADE_EVERY

    def result(self) -> dict[str, Any]:
        """Times in seconds; messages without an answer count with what they have waited."""
        left = [age for pair in self._pairs for age in pair.unanswered()]
        times = sorted(left + [time for pair in self._pairs for time in pair.times])
        late = sorted(moment for pair in self._pairs for moment in pair.late)
        upgrades = sorted(self._upgrades)
        for pair in self._pairs:
            pair.drop()
        return {
            "round_trips": len(times),
            "p50": percentile(times, 0.5),
            "p99": percentile(times, 0.99),
            "longest": percentile(times, 1.0),
            "unanswered": len(left),
            "wrong": sum(pair.wrong for pair in self._pairs),
            "pairs_cut": sum(pair.cut for pair in self._pairs),
            "late_p99": percentile(late, 0.99),
            "upgrades_tried": self._outcomes.total(),
            "upgrades_served": self._outcomes["101"],
            "upgrade_p50": percentile(upgrades, 0.5),
            "upgrade_longest": percentile(upgrades, 1.0),
            "outcomes": dict(self._outcomes),
        }

    async def _upgrade(self) -> None:
        number = next(self._numbers) % (254 - _PAIR_ADDRESSES)
        source = f"{_NETWORK}.{_PAIR_ADDRESSES + 1 + number}"
        hello = binary_handshake(f"passing-{os.urandom(6).hex()}")
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                peer = await join(Peer, self._plan.port, source, self._tls, hello)
        except Refused as refused:
            self._outcomes[str(refused.status)] += 1
        except TimeoutError:
            self._outcomes["too late"] += 1
        except (Over, OSError):
            self._outcomes["cut"] += 1
        else:
            self._upgrades.append(time.perf_counter() - began)
            self._outcomes["101"] += 1
            peer.transport.write(client_frame((1000).to_bytes(2), CLOSE))
            await asyncio.sleep(0.05)
            peer.drop()
