"""One timer for every timeout in the process.

A pending ``call_later`` costs about half a kilobyte, and ten thousand connections each want a
ping, a pong, a write and a close deadline. So a thing with timeouts keeps the earliest of them
here, in the bucket of its tick, and the loop holds one timer in all.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol

_RETRY_DELAY: Final = 1.0
"""Seconds until an item whose callback raised is called again, if it has made no appointment."""


class Timed(Protocol):
    """What a :class:`TimerWheel` can hold: hashable by identity, with a slot for the wheel."""

    wheel_tick: int
    """The wheel's note of where the item is; 0 when it is not scheduled. Start it at 0."""

    def on_timer(self) -> None:
        """Called once, no earlier than scheduled and at most a tick late."""


class TimerWheel:
    """Timeouts rounded up to ``tick`` seconds; each item is scheduled at most once.

    ``on_tick`` is told how many seconds late each tick came.

    ``now`` is the loop's clock as of the last tick: exact enough for timeouts, and reading it
    costs an attribute. It only advances while something is scheduled.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tick: float,
        on_tick: Callable[[float], None] = lambda late: None,
    ) -> None:
        self._loop = loop
        self._on_tick = on_tick
        self._tick = tick
        self._buckets: dict[int, set[Timed]] = {}
        self._current = 0
        self._handle: asyncio.TimerHandle | None = None
        self.now = loop.time()

    def __len__(self) -> int:
        """How many items are scheduled."""
        return sum(map(len, self._buckets.values()))

    def after(self, item: Timed, delay: float) -> None:
        """Schedule ``item`` to be called ``delay`` seconds from now, instead of when it was."""
        self.at(item, self._loop.time() + delay)

    def at(self, item: Timed, due: float) -> None:
        """Schedule ``item`` for the loop time ``due``, instead of when it was."""
        if self._handle is None:
            self._start()
        tick = max(math.ceil(due / self._tick), self._current + 1)
        if item.wheel_tick == tick:
            return
        self.cancel(item)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = set()
        bucket.add(item)
        item.wheel_tick = tick

    def no_later(self, item: Timed, due: float) -> None:
        """Like :meth:`at`, but never puts off an earlier appointment."""
        if not item.wheel_tick or item.wheel_tick * self._tick > due:
            self.at(item, due)

    def cancel(self, item: Timed) -> None:
        """Forget ``item``. One that is not scheduled is no error."""
        if item.wheel_tick:
            self._buckets[item.wheel_tick].discard(item)
            item.wheel_tick = 0

    def close(self) -> None:
        """Forget everything and hold no timer any more."""
        for bucket in self._buckets.values():
            for item in bucket:
                item.wheel_tick = 0
            bucket.clear()  # it may be the one whose items are being called just now
        self._buckets.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _start(self) -> None:
        self.now = self._loop.time()
        self._current = math.floor(self.now / self._tick)
        self._handle = self._loop.call_at((self._current + 1) * self._tick, self._advance)

    def _advance(self) -> None:
        self.now = self._loop.time()
        last, self._current = self._current, math.floor(self.now / self._tick)
        self._on_tick(self.now - (last + 1) * self._tick)
        for tick in range(last + 1, self._current + 1):
            bucket = self._buckets.get(tick)
            while bucket:
                self._fire(bucket.pop())
            self._buckets.pop(tick, None)
        if self._buckets:
            self._handle = self._loop.call_at((self._current + 1) * self._tick, self._advance)
        else:
            self._handle = None

    def _fire(self, item: Timed) -> None:
        item.wheel_tick = 0
        try:
            item.on_timer()
        except Exception as error:
            # One item's fault must not cost the others their timeouts, nor this one its own.
            self._loop.call_exception_handler(
                {"message": "a timeout's callback failed", "exception": error}
            )
            if not item.wheel_tick:
                self.after(item, _RETRY_DELAY)


class PeriodicTask:
    """Calls ``action`` every ``interval`` seconds until cancelled."""

    def __init__(self, wheel: TimerWheel, interval: float, action: Callable[[], None]) -> None:
        self._wheel = wheel
        self._interval = interval
        self._action = action
        self.wheel_tick = 0
        wheel.after(self, interval)

    def on_timer(self) -> None:
        """Act, and make the next appointment."""
        self._wheel.after(self, self._interval)
        self._action()

    def cancel(self) -> None:
        """Not again."""
        self._wheel.cancel(self)
