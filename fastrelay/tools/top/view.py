"""The screen of ``fastrelay top``, 80 columns wide."""

from collections import deque
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastrelay.config.metric_names import PREFIX
from fastrelay.tools.top.scrape import ScrapeDelta

WIDTH = 80
_HISTORY = 56
_BARS = "▁▂▃▄▅▆▇█"
_DIRECTIONS = (("up", "phone_to_binary"), ("down", "binary_to_phone"))


class View:
    """Renders scrapes, and keeps the last rates of each direction for its sparkline."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._frames: dict[str, deque[float]] = {
            direction: deque(maxlen=_HISTORY) for _, direction in _DIRECTIONS
        }

    def render(self, delta: ScrapeDelta) -> RenderableType:
        """The whole screen for the difference between two scrapes."""
        return Group(
            self._head(delta),
            self._traffic(delta),
            _grid("attempts/s", _outcomes(delta)),
            _grid("dropped/s", _drops(delta)),
            _grid("ended/s", _closes(delta)),
            _grid("p99 time", _times(delta)),
            _grid("process", _process(delta)),
        )

    def _head(self, delta: ScrapeDelta) -> Text:
        now = delta.after
        (build,) = now.by_labels(f"{PREFIX}build_info") or ((("version", "?"),),)
        return Text.assemble(
            ("fastrelay ", "bold"),
            f"{dict(build)['version']}  {self._url}  ",
            f"binaries {now.value(f'{PREFIX}connected_binaries'):.0f}  ",
            f"phones {now.value(f'{PREFIX}connected_phones'):.0f}",
            overflow="ellipsis",
            no_wrap=True,
        )

    def _traffic(self, delta: ScrapeDelta) -> Table:
        table = Table.grid(padding=(0, 1))
        for label, direction in _DIRECTIONS:
            frames = delta.rate(f"{PREFIX}frames_forwarded_total", direction=direction)
            size = delta.rate(f"{PREFIX}forwarded_bytes_total", direction=direction)
            self._frames[direction].append(frames)
            spark = sparkline(self._frames[direction])
            table.add_row(f"{label:<4}", f"{frames:8.0f}/s", f"{_size(size):>9}/s", spark)
        return table


def sparkline(values: Iterable[float]) -> str:
    """The values as a line of bars, scaled to the highest value."""
    known = list(values)
    top = max(known, default=0.0) or 1.0
    return "".join(_BARS[min(7, int(value / top * 7.999))] for value in known)


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _outcomes(delta: ScrapeDelta) -> list[str]:
    name = f"{PREFIX}ws_upgrade_attempts_total"
    return [
        f"{labels['endpoint']} {labels['outcome']} {delta.rate(name, **labels):.1f}"
        for labels in map(dict, delta.after.by_labels(name))
        if labels["outcome"] == "accept" or delta.after.value(name, **labels)
    ]


def _drops(delta: ScrapeDelta) -> list[str]:
    name = f"{PREFIX}frames_dropped_total"
    label_of = {direction: label for label, direction in _DIRECTIONS}
    return [
        f"{label_of[labels['direction']]} {labels['reason']} {delta.rate(name, **labels):.1f}"
        for labels in map(dict, delta.after.by_labels(name))
        if delta.after.value(name, **labels)
    ] or ["none since it started"]


def _closes(delta: ScrapeDelta) -> list[str]:
    """The rates of ended connections by cause; at most the six highest."""
    name = f"{PREFIX}connections_closed_total"
    rates: dict[str, float] = {}
    for labels in map(dict, delta.after.by_labels(name)):
        cause = labels["cause"]
        rates[cause] = rates.get(cause, 0.0) + delta.rate(name, **labels)
    highest = sorted(rates, key=lambda cause: -rates[cause])[:6]
    return [f"{cause} {rates[cause]:.1f}" for cause in highest if rates[cause]] or ["none"]


def _times(delta: ScrapeDelta) -> list[str]:
    """Upper bounds of the 99th percentiles of frame transit, upgrades and loop lag."""
    frame, upgrade = f"{PREFIX}frame_transit_seconds", f"{PREFIX}upgrade_duration_seconds"
    times = {label: delta.quantile(frame, 0.99, direction=name) for label, name in _DIRECTIONS}
    times["loop lag"] = delta.quantile(f"{PREFIX}event_loop_lag_seconds", 0.99)
    for endpoint in ("server", "client"):
        times[f"{endpoint} upgrade"] = delta.quantile(upgrade, 0.99, endpoint=endpoint)
    return [
        f"{label} ≤ {time * 1000:g} ms" if time else f"{label} –" for label, time in times.items()
    ]


def _process(delta: ScrapeDelta) -> list[str]:
    now = delta.after
    return [
        f"backlog {_size(now.value(f'{PREFIX}phone_backlog_bytes'))}",
        f"cpu {delta.rate('process_cpu_seconds_total') * 100:.0f} %",
        f"memory {_size(now.value('process_resident_memory_bytes'))}",
        f"descriptors {now.value('process_open_fds'):.0f}",
    ]


def _grid(label: str, items: list[str]) -> Table:
    """The items in rows of three, with a label before the first row."""
    table = Table.grid(padding=(0, 1))
    for begin in range(0, len(items), 3):
        head = label if not begin else ""
        table.add_row(f"{head:<11}", *(f"{item:<21}" for item in items[begin : begin + 3]))
    return table
