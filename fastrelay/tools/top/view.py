"""The screen of ``fastrelay top``: chooses the parts that fit on it."""

import time
from dataclasses import dataclass, field
from typing import Final

from rich.text import Text

from fastrelay.tools.top import sections
from fastrelay.tools.top.history import History
from fastrelay.tools.top.scrape import ScrapeDelta

WIDTH: Final = 80
"""The columns of text that is not for a terminal."""

_LEAST_CHART: Final = 3
_MOST_CHART: Final = 12
_KEYS: Final = "q quit   p pause   +/- interval   ? help"
_HELP: Final = """\
q          quit (Ctrl-C and SIGTERM do the same)
p, space   pause, or continue after a pause
+, -       make the time between two updates longer or shorter
h, ?       show or hide this help
Ctrl-Z     stop this program; the command fg continues it

up, down   frames from phones and to phones, and their bytes
live       WebSockets of binaries and phones; there is one bar for each update
p99 time   99 of 100 frames, upgrades or timers took at most this time
attempts, refused, dropped, ended
           results of upgrades, other requests, frames and connections;
           docs/operations.md has a table of each
loop lag   how late the last timer of a worker was
A dash means that nothing was measured."""


@dataclass
class View:
    """What is shown.

    Attributes:
        url: the page; printable.
        interval: the seconds between two looks.
        history: all looks.
        delta: the difference between the last two readings; ``None`` before the first.
        problem: why the last reading failed; empty if it did not.
        note: further information for the user; may be empty.
        paused: whether reading is suspended.
        helps: whether the help is shown.
    """

    url: str
    interval: float
    history: History = field(default_factory=History)
    delta: ScrapeDelta | None = None
    problem: str = ""
    note: str = ""
    paused: bool = False
    helps: bool = False

    def add(self, delta: ScrapeDelta) -> None:
        """Show the difference between two scrapes."""
        self.delta = delta
        self.history.add(delta)

    def plain(self, width: int = WIDTH) -> str:
        """All but the charts, as plain text."""
        assert self.delta is not None
        lines = [
            sections.head(self.delta, self.url, width),
            *sections.traffic(self.delta, self.history, width),
            *sections.events(self.delta, width),
            *sections.figures(self.delta, width),
            *sections.workers(self.delta),
        ]
        return "".join(f"{line.rstrip()[:width]}\n" for line in lines)

    def screen(self, width: int, height: int) -> list[Text]:
        """Exactly ``height`` lines."""
        body = _HELP.splitlines() if self.helps else self._body(width, height - 3)
        lines = [self._title(width), self._status(), *(Text(line) for line in body)]
        lines = lines[: height - 1]
        lines += [Text()] * (height - 1 - len(lines))
        lines.append(Text(_KEYS.ljust(width), style="reverse"))
        for line in lines:
            line.truncate(width)
        return lines[-height:]

    def _title(self, width: int) -> Text:
        if self.delta is None:
            return Text(f"fastrelay  {self.url}", style="bold")
        return Text(sections.head(self.delta, self.url, width), style="bold")

    def _status(self) -> Text:
        if self.problem:
            return Text(self.problem, style="bold red")
        running = "" if self.delta is None else sections.uptime(self.delta, time.time())
        looks = "paused" if self.paused else f"a look every {self.interval:g} s"
        parts = [part for part in (running, looks, self.note) if part]
        return Text("   ".join(parts), style="yellow" if self.paused or self.note else "green")

    def _body(self, width: int, room: int) -> list[str]:
        if self.delta is None:
            return []
        top = ["", *sections.traffic(self.delta, self.history, width)]
        figures = ["", *sections.figures(self.delta, width)]
        workers = sections.workers(self.delta)
        workers = ["", *workers] if workers else []
        full = ["", *sections.outcomes(self.delta, width)]
        short = ["", *sections.events(self.delta, width)]
        used = len(top) + len(figures)
        fits = used + len(workers) + len(full) <= room
        events = full if fits else short
        workers = sections.cropped(workers, max(0, room - used - len(events)))
        lines = [*top, *figures, *workers, *events]
        rows = min(_MOST_CHART, (room - len(lines) - 3) // 2)
        if rows >= _LEAST_CHART:
            lines += ["", *sections.charts(self.history, width, rows)]
        return lines
