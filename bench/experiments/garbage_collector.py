"""What a full collection costs with many connections, and what is left of it when tamed.

Makes as many session objects as there are connections, lets objects come and go as frames do, and
times the pauses by ``gc.callbacks``. Found (Python 3.11, 10,000 connections):

    as Python sets it      longest 18.0 ms, all 69.6 ms
    as the relay sets it   longest  3.2 ms, all  7.9 ms
"""

import asyncio
import gc
import time
from typing import Any

import uvloop

import fastrelay.process.run
from fastrelay.config.settings import Intervals
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.policy.caps import LiveConnections
from fastrelay.policy.counters import Counters
from fastrelay.policy.held_bytes import HeldBytes
from fastrelay.process.garbage_collection import configure_gc
from fastrelay.websocket.connection import Connection
from fastrelay.websocket.context import ConnectionContext

CONNECTIONS = 10_000


class _Transport:
    """As much of a transport as a connection asks for when it is made."""

    def set_write_buffer_limits(self, high: int) -> None: ...
    def set_protocol(self, protocol: object) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0


class _Pauses:
    def __init__(self) -> None:
        self.longest = self.total = 0.0
        self._began = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            pause = time.perf_counter() - self._began
            self.total += pause
            self.longest = max(self.longest, pause)


def _pauses_with(connections: int) -> _Pauses:
    loop = asyncio.get_running_loop()
    live: LiveConnections[Connection] = LiveConnections(connections)
    conditions = ConnectionContext(
        TimerWheel(loop, 0.25), Intervals(), 1 << 18, live, HeldBytes(1 << 28)
    )
    counts = Counters().frames.phone_to_binary
    handler: Any = object()
    pauses = _Pauses()
    gc.callbacks.append(pauses)
    for number in range(connections):
        connection = Connection(_Transport(), handler, conditions, counts)  # type: ignore[arg-type]
        live.add(connection, f"198.51.100.{number}")
    kept: list[list[object]] = []
    for _ in range(300_000):  # a backlog that grows and goes
        kept.append([object()])
        if len(kept) > 30_000:
            kept.clear()
    gc.callbacks.remove(pauses)
    conditions.wheel.close()
    return pauses


def change() -> None:
    """Leave the collector as Python sets it."""
    fastrelay.process.run.configure_gc = lambda: None


def main() -> None:
    """Print the pauses before and after."""
    uvloop.run(_measure())


async def _measure() -> None:
    before = _pauses_with(CONNECTIONS)
    configure_gc()
    after = _pauses_with(CONNECTIONS)
    for label, pauses in (("as Python sets it", before), ("as the relay sets it", after)):
        print(
            f"{label:<23}longest {pauses.longest * 1e3:5.2f} ms, all {pauses.total * 1e3:5.1f} ms"
        )
