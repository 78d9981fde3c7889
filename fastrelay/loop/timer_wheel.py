"""A timer wheel: all timeouts of a relay share one timer of the event loop.

A pending ``call_later`` takes about half a kilobyte, and each of ten thousand connections has a
ping, a pong, a write and a close deadline. An object with timeouts therefore schedules only the
earliest of them here. Its entry is in the bucket of its tick, and the event loop has one timer in
all.

Before the items of a tick are called, the event loop polls its sockets once. The event loop itself
calls timers before it polls, but bytes that a peer has sent while the loop was late must count.

A tick that is more than a second late means that the process was stopped or the loop was blocked.
The clock of the wheel is then set back by that time, so all timeouts move.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol

STALL: Final = 1.0
"""Seconds by which a tick is late when the process has stalled. Less is a loop that is slow."""

_RETRY_DELAY: Final = 1.0
"""Seconds until an item whose callback raised is called again, unless it has scheduled itself."""


class Timed(Protocol):
    """An item of a :class:`TimerWheel`. It must be hashable by identity."""

    wheel_tick: int
    """The tick at which the item is scheduled; 0 if it is not. It starts at 0, and only the wheel
    changes it."""

    def on_timer(self) -> None:
        """Called once, not before the scheduled time and at most one tick after it."""


class TimerWheel:
    """Schedules items at times rounded up to whole ticks; each item is scheduled at most once.

    Args:
        loop: the event loop whose clock is used.
        tick: seconds.
        on_tick: called at every tick with the seconds by which the tick came late.
        on_stall: called with the seconds of each stall, after the clock was set back and before any
            timeout is judged; ``None``: stalls are not told from lateness, and no timeout moves.

    Attributes:
        now: the time of the wheel's clock at the last tick, in seconds. The wheel's clock is the
            event loop's without the stalls. It is exact enough for
            timeouts, and reading an attribute is cheaper than a call. It only advances while an
            item is scheduled.
        late: the seconds by which the last tick came late.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tick: float,
        on_tick: Callable[[float], None] = lambda late: None,
        on_stall: Callable[[float], None] | None = None,
    ) -> None:
        self._loop = loop
        self._on_tick = on_tick
        self._on_stall = on_stall
        self._stalled = self._expected = 0.0
        self._tick = tick
        # As keys: a dictionary grows in smaller steps than a set.
        self._buckets: dict[int, dict[Timed, None]] = {}
        self._current = 0
        self._handle: asyncio.TimerHandle | None = None
        self.now = loop.time()
        self.late = 0.0

    def __len__(self) -> int:
        """The number of scheduled items."""
        return sum(map(len, self._buckets.values()))

    def after(self, item: Timed, delay: float) -> None:
        """Schedule ``item`` in ``delay`` seconds; this replaces its earlier schedule."""
        self.at(item, self._time() + delay)

    def at(self, item: Timed, due: float) -> None:
        """Schedule ``item`` for the wheel's time ``due``; this replaces its earlier schedule."""
        if self._handle is None:
            self._start()
        tick = max(math.ceil(due / self._tick), self._current + 1)
        if item.wheel_tick == tick:
            return
        self.cancel(item)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
        bucket[item] = None
        item.wheel_tick = tick

    def no_later(self, item: Timed, due: float) -> None:
        """Schedule ``item`` for the wheel's time ``due``, unless it is scheduled earlier."""
        if not item.wheel_tick or item.wheel_tick * self._tick > due:
            self.at(item, due)

    def cancel(self, item: Timed) -> None:
        """Remove ``item``; no effect if it is not scheduled."""
        if item.wheel_tick:
            self._buckets[item.wheel_tick].pop(item, None)
            item.wheel_tick = 0

    def close(self) -> None:
        """Remove all items and cancel the event loop's timer."""
        for bucket in self._buckets.values():
            for item in bucket:
                item.wheel_tick = 0
            bucket.clear()  # _advance may be calling the items of this very bucket
        self._buckets.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _time(self) -> float:
        return self._loop.time() - self._stalled

    def _start(self) -> None:
        self.now = self._time()
        self._current = math.floor(self.now / self._tick)
        self._wait()

    def _wait(self) -> None:
        """Wait for the next tick."""
        self._expected = (self._current + 1) * self._tick + self._stalled
        self._handle = self._loop.call_at(self._expected, self._advance)

    def _advance(self) -> None:
        self.late = max(0.0, self._loop.time() - self._expected)
        self._on_tick(self.late)
        self._notice_stall()
        self._after_polling()

    def _notice_stall(self) -> bool:
        """Whether the process has stalled since it was expected here; sets the clock back."""
        time = self._loop.time()
        late, self._expected = time - self._expected, time
        if late <= STALL or self._on_stall is None:
            return False
        self._stalled += late
        try:
            self._on_stall(late)
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": "the callback for stalls failed", "exception": error}
            )
        return True

    def _after_polling(self) -> None:
        """Call the items that are due after the event loop has polled its sockets.

        uvloop calls what is due at once before it polls, and what that call schedules at once after
        it has polled. So it takes two steps.
        """
        call_at, time = self._loop.call_at, self._loop.time

        def before_polling() -> None:
            self._handle = call_at(time(), self._call_due)

        self._handle = call_at(time(), before_polling)

    def _call_due(self) -> None:
        if self._notice_stall():
            self._after_polling()
            return
        self.now = self._time()
        last, self._current = self._current, math.floor(self.now / self._tick)
        for tick in range(last + 1, self._current + 1):
            bucket = self._buckets.get(tick)
            while bucket:
                self._fire(bucket.popitem()[0])
            self._buckets.pop(tick, None)
        if self._buckets:
            self._wait()
        else:
            self._handle = None

    def _fire(self, item: Timed) -> None:
        item.wheel_tick = 0
        try:
            item.on_timer()
        except Exception as error:
            # An item that raises must not cost the other items their timeouts. It is called again
            # itself, because the timeout may be all that would end its connection.
            self._loop.call_exception_handler(
                {"message": "a timeout's callback failed", "exception": error}
            )
            if not item.wheel_tick:
                self.after(item, _RETRY_DELAY)


class Deadline:
    """A time that passes once, for code that checks from time to time whether it has passed.

    Attributes:
        passed: whether it has. As with every timeout, stalls have moved it.
    """

    def __init__(self, wheel: TimerWheel, seconds: float) -> None:
        self._wheel = wheel
        self.passed = False
        self.wheel_tick = 0
        wheel.after(self, seconds)

    def on_timer(self) -> None:
        """Note that the time has come."""
        self.passed = True

    def cancel(self) -> None:
        """Forget the deadline."""
        self._wheel.cancel(self)


class PeriodicTask:
    """Calls ``action`` every ``interval`` seconds, from one interval after its creation on.

    An action that raises is called again after the next interval.
    """

    def __init__(self, wheel: TimerWheel, interval: float, action: Callable[[], None]) -> None:
        self._wheel = wheel
        self._interval = interval
        self._action = action
        self.wheel_tick = 0
        wheel.after(self, interval)

    def on_timer(self) -> None:
        """Schedule the next call and call the action."""
        # Scheduled first, so that the action may cancel the task or raise.
        self._wheel.after(self, self._interval)
        self._action()

    def cancel(self) -> None:
        """Stop calling the action."""
        self._wheel.cancel(self)
