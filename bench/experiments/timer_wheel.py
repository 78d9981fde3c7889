"""One wheel for every timeout, against ``call_later`` for each.

Found: 590 bytes more an idle connection, a quarter; CPU alike, since deadlines move far less often
than frames come. So the wheel is there for the memory.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import fastrelay.server.relay
from bench.compare.plan import SMALL
from fastrelay.loop.timer_wheel import Timed

LOADS = (SMALL,)
IDLE = True


class CallLater:
    """As much of a :class:`fastrelay.loop.timer_wheel.TimerWheel` as the relay uses."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tick: float,
        on_tick: Callable[[float], None],
        on_stall: Callable[..., None],
    ) -> None:
        self._loop = loop
        self._handles: dict[Any, asyncio.TimerHandle] = {}

    @property
    def now(self) -> float:
        return self._loop.time()

    def after(self, item: Timed, delay: float) -> None:
        self.at(item, self._loop.time() + delay)

    def at(self, item: Timed, due: float) -> None:
        self.cancel(item)
        self._handles[item] = self._loop.call_at(due, self._fire, item)

    def no_later(self, item: Timed, due: float) -> None:
        handle = self._handles.get(item)
        if handle is None or handle.when() > due:
            self.at(item, due)

    def cancel(self, item: Timed) -> None:
        handle = self._handles.pop(item, None)
        if handle is not None:
            handle.cancel()

    def close(self) -> None:
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()

    def _fire(self, item: Timed) -> None:
        self._handles.pop(item, None)
        item.on_timer()


def change() -> None:
    """Give each appointment a timer of the loop."""
    fastrelay.server.relay.TimerWheel = CallLater  # type: ignore[misc, assignment]
