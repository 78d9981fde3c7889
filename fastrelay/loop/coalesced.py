"""Work that may be asked for far more often than it should be done."""

import asyncio
from collections.abc import Awaitable, Callable

from fastrelay.loop.internal_errors import report


class Coalesced:
    """Does a piece of work on request: one at a time, and at most one in each interval.

    All requests that come while the work runs, or in the rest of its interval, are combined into
    one, which is served next. After each request, the work therefore begins at least once.

    Args:
        work: if it raises, that is reported as an internal error, and later requests are served.
        interval: seconds from the end of the work to its next beginning.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], interval: float) -> None:
        self._work = work
        self._interval = interval
        self._requested = False
        self._task: asyncio.Task[None] | None = None

    def request(self) -> None:
        """Have the work done: at once, or as soon as the interval allows."""
        self._requested = True
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._requested:
            self._requested = False
            try:
                await self._work()
            except Exception as error:
                report(error)
            await asyncio.sleep(self._interval)
        self._task = None

    async def stop(self) -> None:
        """Stop. A call of the work that is running is cancelled."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
