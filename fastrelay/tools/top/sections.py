"""The parts of the screen, each as lines of plain text.

Everything that comes from the page is printable ASCII by then, so every character is one column.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from fastrelay.config.metric_names import PREFIX
from fastrelay.tools.support.printable import printable
from fastrelay.tools.top.figures import (
    chart,
    count,
    duration,
    highest,
    milliseconds,
    size,
    sparkline,
)
from fastrelay.tools.top.history import DIRECTIONS, History, connections, frames_per_second
from fastrelay.tools.top.scrape import Scrape, ScrapeDelta

_LABEL_WIDTH: Final = 12
_CELL_WIDTH: Final = 22
_COLUMN_WIDTH: Final = 40
_NAME_WIDTH: Final = 24
_MOST_CAUSES: Final = 6


def head(delta: ScrapeDelta, url: str, width: int) -> str:
    """Version, address and what is connected."""
    now = delta.after
    build = next(iter(now.by_labels(f"{PREFIX}build_info", "python", "version")), ())
    version = printable(dict(build).get("version", "?"), 20)
    counts = "  ".join(
        f"{kind} {count(now.known(f'{PREFIX}connected_{kind}'))}" for kind in ("binaries", "phones")
    )
    room = max(10, width - len(version) - len(counts) - len("fastrelay    "))
    shown = url if len(url) <= room else f"{url[: room - 3]}..."
    return f"fastrelay {version}  {shown}  {counts}"


def uptime(delta: ScrapeDelta, now: float) -> str:
    """For how long the relay has been running; ``now`` is in seconds since the epoch."""
    started_at = delta.after.known("process_start_time_seconds")
    return "" if started_at is None else f"running for {duration(max(0.0, now - started_at))}"


def traffic(delta: ScrapeDelta, history: History, width: int) -> list[str]:
    """Frames and bytes of each direction, and connections, with what they were before."""
    room = max(1, width - 27)
    lines = []
    for label, direction in DIRECTIONS:
        frames = f"{count(frames_per_second(delta, direction))}/s"
        sent = f"{size(delta.rate(f'{PREFIX}forwarded_bytes_total', direction=direction))}/s"
        spark = sparkline(list(history.frames[direction])[-room:])
        lines.append(f"{label:<6}{frames:>8} {sent:>11} {spark}")
    spark = sparkline(list(history.connections)[-room:])
    lines.append(f"{'live':<6}{count(connections(delta)):>6}{'':14} {spark}")
    return lines


def figures(delta: ScrapeDelta, width: int) -> list[str]:
    """Latencies and the process."""
    return [
        *_grid("p99 time", _times(delta), width),
        *_grid("process", _process(delta), width),
    ]


def events(delta: ScrapeDelta, width: int) -> list[str]:
    """What happened to connections and frames, in little room: rates only."""
    return [
        line for title, rows in _groups(delta) for line in _grid(f"{title}/s", _rates(rows), width)
    ]


def outcomes(delta: ScrapeDelta, width: int) -> list[str]:
    """What happened to connections and frames: a row for each outcome, its rate and its sum."""
    blocks = []
    for title, rows in _groups(delta):
        heading = f"{title:<{_NAME_WIDTH}} {'/s':>6} {'total':>6}"
        happened = [row for row in rows if row.total or row.always]
        block = [
            f"{row.name:<{_NAME_WIDTH}} {count(row.rate):>6} {count(row.total):>6}"
            for row in happened
        ]
        blocks.append([heading, *(block or ["none since it started"])])
    return _beside_each_other(blocks, max(1, width // _COLUMN_WIDTH))


def workers(delta: ScrapeDelta) -> list[str]:
    """A row for each worker, below a heading; nothing if the relay has no workers."""
    now, prefix = delta.after, f"{PREFIX}worker_"
    found = now.by_labels(f"{prefix}up", "worker")
    names = sorted((dict(labels)["worker"] for labels in found), key=lambda name: (len(name), name))
    if not names:
        return []
    lines = [f"{'worker':<8} {'serves':>6} {'live':>6} {'CPU':>6} {'loop lag':>9} {'restarts':>8}"]
    for name in names:
        serves = "yes" if now.known(f"{prefix}up", worker=name) else "NO"
        live = count(now.known(f"{prefix}connections", worker=name))
        cpu = f"{delta.rate(f'{prefix}cpu_seconds_total', worker=name) * 100:.0f} %"
        lag = milliseconds(now.known(f"{prefix}loop_lag_seconds", worker=name))
        restarts = count(now.known(f"{prefix}restarts_total", worker=name))
        shown = printable(name, 5)[:8]
        lines.append(f"{shown:<8} {serves:>6} {live:>6} {cpu:>6} {lag:>9} {restarts:>8}")
    return lines


def charts(history: History, width: int, rows: int) -> list[str]:
    """Messages and connections over time, in two charts of ``rows`` rows with a heading each."""
    lines = []
    named = (("messages/s", history.all_frames), ("connections", list(history.connections)))
    for title, values in named:
        seen = values[-width:]
        lines.append(f"{title}, at most {count(highest(seen))}")
        lines += [f"{line:>{width}}" for line in chart(seen, rows)]
    return lines


class _Row(NamedTuple):
    """One outcome. ``always``: it is shown even if it never happened."""

    name: str
    rate: float
    total: float
    always: bool = False


def _groups(delta: ScrapeDelta) -> list[tuple[str, list[_Row]]]:
    direction_of = {direction: label for label, direction in DIRECTIONS}
    return [
        (
            "attempts",
            _rows(
                delta,
                f"{PREFIX}ws_upgrade_attempts_total",
                ("endpoint", "outcome"),
                lambda endpoint, outcome: f"{endpoint} {outcome}",
                always="accept",
            ),
        ),
        ("refused", _rows(delta, f"{PREFIX}refusals_total", ("reason",), lambda reason: reason)),
        (
            "dropped",
            _rows(
                delta,
                f"{PREFIX}frames_dropped_total",
                ("direction", "reason"),
                lambda direction, reason: f"{direction_of.get(direction, direction)} {reason}",
            ),
        ),
        (
            "ended",
            _rows(
                delta,
                f"{PREFIX}connections_closed_total",
                ("cause", "code", "side"),
                lambda cause, code, side: f"{side} {cause}",
            ),
        ),
    ]


def _rows(
    delta: ScrapeDelta,
    name: str,
    keys: tuple[str, ...],
    title: Callable[..., str],
    always: str | None = None,
) -> list[_Row]:
    """The rows of one family; samples with one title are one row."""
    rows: dict[str, _Row] = {}
    for labels, total in delta.after.by_labels(name, *keys).items():
        values = dict(labels)
        shown = printable(title(*(values[key] for key in keys)), _NAME_WIDTH)
        shown = shown if len(shown) <= _NAME_WIDTH else f"{shown[: _NAME_WIDTH - 3]}..."
        known = rows.get(shown, _Row(shown, 0.0, 0.0))
        is_usual = always is not None and always in values.values()
        rate = known.rate + delta.rate(name, **values)
        rows[shown] = _Row(shown, rate, known.total + total, known.always or is_usual)
    return list(rows.values())


def _rates(rows: list[_Row]) -> list[str]:
    """Those that happen now, or are always shown, the most frequent first."""
    usual = [row for row in rows if row.always]
    others = sorted((row for row in rows if row.rate and not row.always), key=lambda row: -row.rate)
    shown = [f"{row.name} {count(row.rate)}" for row in (*usual, *others[:_MOST_CAUSES])]
    if shown:
        return shown
    return ["none" if any(row.total for row in rows) else "none since it started"]


def _times(delta: ScrapeDelta) -> list[str]:
    """Upper bounds of the 99th percentiles of frame transit, upgrades and loop lag."""
    frame, upgrade = f"{PREFIX}frame_transit_seconds", f"{PREFIX}upgrade_duration_seconds"
    times = {label: delta.quantile(frame, 0.99, direction=name) for label, name in DIRECTIONS}
    times["loop lag"] = delta.quantile(f"{PREFIX}event_loop_lag_seconds", 0.99)
    for endpoint in ("server", "client"):
        times[f"{endpoint} upgrade"] = delta.quantile(upgrade, 0.99, endpoint=endpoint)
    return [f"{label} {_at_most(time)}" for label, time in times.items()]


def _at_most(seconds: float) -> str:
    if not seconds:
        return "–"
    return "long" if seconds == float("inf") else f"≤ {seconds * 1000:g} ms"


def _process(delta: ScrapeDelta) -> list[str]:
    now: Scrape = delta.after
    return [
        f"backlog {size(now.known(f'{PREFIX}phone_backlog_bytes'))}",
        f"CPU {delta.rate('process_cpu_seconds_total') * 100:.0f} %",
        f"memory {size(now.known('process_resident_memory_bytes'))}",
        f"descriptors {count(now.known('process_open_fds'))}",
    ]


def _grid(label: str, items: list[str], width: int) -> list[str]:
    """The items in rows, with a label before the first row; a long item takes several cells."""
    room = max(1, (width - _LABEL_WIDTH) // _CELL_WIDTH) * _CELL_WIDTH
    rows = [""]
    for item in items:
        cells = len(item) // _CELL_WIDTH + 1
        if rows[-1] and len(rows[-1]) + cells * _CELL_WIDTH > room:
            rows.append("")
        rows[-1] += f"{item:<{cells * _CELL_WIDTH}}"
    rows = [" " * _LABEL_WIDTH + row for row in rows]
    rows[0] = f"{label:<{_LABEL_WIDTH}}{rows[0].lstrip()}"
    return [row.rstrip() for row in rows]


def _beside_each_other(blocks: list[list[str]], columns: int) -> list[str]:
    """The blocks in columns of about one height, with an empty line between two blocks."""
    heights = [0] * columns
    placed: list[list[str]] = [[] for _ in range(columns)]
    for block in blocks:
        column = heights.index(min(heights))
        placed[column] += ["", *block] if placed[column] else block
        heights[column] = len(placed[column])
    return [
        "".join(
            f"{lines[row] if row < len(lines) else '':<{_COLUMN_WIDTH}}" for lines in placed
        ).rstrip()
        for row in range(max(heights))
    ]


def cropped(lines: Iterable[str], most: int) -> list[str]:
    """The lines; of too many the last says how many there are more."""
    shown = list(lines)
    if len(shown) <= most:
        return shown
    return [*shown[: max(0, most - 1)], f"... and {len(shown) - most + 1} more"][:most]
