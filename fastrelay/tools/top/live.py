"""The live view: reads the metrics page again and again, and reacts to keys."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from typing import Final

from fastrelay.tools.top.scrape import PageUnavailable, Scrape, ScrapeDelta, Source, scrape
from fastrelay.tools.top.terminal import Terminal
from fastrelay.tools.top.view import View

_INTERVALS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""What the keys ``+`` and ``-`` choose from."""


async def show(source: Source, interval: float, terminal: Terminal) -> None:
    """Show the relay until the user presses ``q`` or a signal ends it.

    Raises:
        PageUnavailable: there was nothing to show at the beginning.
        OSError: the terminal is gone.
    """
    first = await scrape(source)
    loop = asyncio.get_running_loop()
    with terminal, contextlib.ExitStack() as handlers:
        live = Live(source, interval, terminal, first)
        tasks = [asyncio.create_task(live.look()), asyncio.create_task(live.draw())]
        live.quit = tasks[0].cancel
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, live.quit)
            handlers.callback(loop.remove_signal_handler, number)
        for number, handler in ((signal.SIGWINCH, live.resize), (signal.SIGTSTP, live.stop)):
            loop.add_signal_handler(number, handler)
            handlers.callback(loop.remove_signal_handler, number)
        if terminal.keyboard is not None:
            loop.add_reader(terminal.keyboard, live.read_keys)
            handlers.callback(loop.remove_reader, terminal.keyboard)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in done:
            if not task.cancelled():
                await task  # only an exception ends it otherwise, and it is raised here


class Live:
    """The state of a live view. Keys and signals change it; two tasks look and draw.

    Attributes:
        quit: ends :meth:`look`.
    """

    def __init__(self, source: Source, interval: float, terminal: Terminal, first: Scrape) -> None:
        self.quit: Callable[[], object] = lambda: None
        self._source = source
        self._terminal = terminal
        self._last = first
        self._view = View(source.url, interval, delta=ScrapeDelta(first, first))
        self._unreachable_since = ""
        self._is_stopping = False
        self._changed = asyncio.Event()
        """Something has changed that the wait between two looks depends on."""
        self._outdated = asyncio.Event()
        """Something has changed that is on the screen."""
        self._outdated.set()

    async def look(self) -> None:
        """Look at the page for ever."""
        loop = asyncio.get_running_loop()
        looked_at = loop.time()
        while True:
            due = looked_at + self._view.interval
            if self._view.paused or due > loop.time():
                await self._wait(None if self._view.paused else due - loop.time())
                continue
            looked_at = loop.time()
            await self._look_once()
            self._outdated.set()

    async def draw(self) -> None:
        """Draw the screen whenever it is outdated."""
        while True:
            await self._outdated.wait()
            self._outdated.clear()
            if self._is_stopping:
                self._is_stopping = False
                self._terminal.stop()
            self._terminal.draw(self._view.screen(*self._terminal.size))

    async def _wait(self, seconds: float | None) -> None:
        """Wait for a key that changes something, or some seconds."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _look_once(self) -> None:
        view = self._view
        try:
            now = await scrape(self._source)
        except PageUnavailable as error:
            self._unreachable_since = self._unreachable_since or _time_of_day()
            found = str(error).partition(";")[0]
            view.problem = f"not reachable since {self._unreachable_since}, retrying: {found}"
            view.history.add_gap()
            return
        delta = ScrapeDelta(self._last, now)
        if delta.restarted:
            view.note = f"restarted, seen at {_time_of_day()}"
            delta = ScrapeDelta(now, now)
        self._last, self._unreachable_since, view.problem = now, "", ""
        view.add(delta)

    def resize(self) -> None:
        """Draw for another size of the terminal."""
        self._outdated.set()

    def stop(self) -> None:
        """Stop as Ctrl-Z does, and draw again afterwards."""
        self._is_stopping = True
        self._outdated.set()

    def read_keys(self) -> None:
        """Do what the keys say that were pressed."""
        keys = self._terminal.keys()
        if keys is None:
            assert self._terminal.keyboard is not None
            asyncio.get_running_loop().remove_reader(self._terminal.keyboard)
            return
        for key in keys:
            self._press(key)
        self._outdated.set()

    def _press(self, key: str) -> None:
        view = self._view
        match key:
            case "q" | "Q":
                self.quit()
            case "p" | " ":
                view.paused = not view.paused
                self._changed.set()
            case "h" | "?":
                view.helps = not view.helps
            case "+" | "=":
                longer = [choice for choice in _INTERVALS if choice > view.interval]
                self._change_interval(longer[:1])
            case "-":
                shorter = [choice for choice in _INTERVALS if choice < view.interval]
                self._change_interval(shorter[-1:])

    def _change_interval(self, choice: list[float]) -> None:
        for seconds in choice:  # none at an end of the list
            self._view.interval = seconds
            self._changed.set()


def _time_of_day() -> str:
    return time.strftime("%H:%M:%S")
