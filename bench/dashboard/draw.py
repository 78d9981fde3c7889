"""Draws the panels of a dashboard the way Grafana lays them out (extra ``bench``)."""

import textwrap
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, PercentFormatter

from bench.dashboard.series import Line

_COLUMN = 8
"""Of Grafana's 24 units of width, how many one of our panels has."""

_MOST_LINES = 7
"""In a legend; the others are drawn without a name."""

_DAY = 86_400


def draw(panels: list[dict[str, Any]], lines: dict[int, list[Line]], file: Path) -> None:
    """Draw every panel into one picture.

    Args:
        lines: the series of each panel, by its id.
    """
    rows = 1 + max(panel["gridPos"]["y"] // panel["gridPos"]["h"] for panel in panels)
    picture = Figure(figsize=(18, 3.7 * rows), layout="constrained")
    grid = picture.add_gridspec(rows, 24 // _COLUMN)
    for panel in panels:
        place = panel["gridPos"]
        axes = picture.add_subplot(grid[place["y"] // place["h"], place["x"] // _COLUMN])
        description = "\n".join(textwrap.wrap(panel["description"], 88))
        axes.set_title(panel["title"], loc="left", fontsize=12, fontweight="bold", pad=10)
        axes.set_xlabel(description, fontsize=8, color="0.35", loc="left")
        if panel["type"] == "stat":
            _stat(axes, lines[panel["id"]])
        else:
            _series(axes, lines[panel["id"]], panel["fieldConfig"]["defaults"])
    file.parent.mkdir(exist_ok=True)
    picture.savefig(file, dpi=72)


def _stat(axes: Axes, lines: list[Line]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    text = "\n".join(name for name, _, _ in lines)
    axes.text(0.5, 0.5, text, fontsize=13, ha="center", va="center", transform=axes.transAxes)


def _series(axes: Axes, lines: list[Line], defaults: dict[str, Any]) -> None:
    """What is 0 all the time is left out if anything is not, and the largest are named."""
    moving = [line for line in lines if any(value > 0 for value in line[2])] or lines
    moving.sort(key=lambda line: -max(line[2], default=0.0))
    for number, (name, times, values) in enumerate(moving):
        axes.plot(times, values, linewidth=1.3, label=name if number < _MOST_LINES else None)
    highest = max((value for line in moving for value in line[2]), default=0.0)
    axes.set_ylim(0, 1.5 * highest or 1.0)  # with room for the legend
    axes.yaxis.set_major_formatter(_formatter(defaults.get("unit", "short"), highest))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: f"{second:.0f} s"))
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=8)
    if moving:
        columns = 1 if len(moving) < 5 else 2
        axes.legend(fontsize=7.5, loc="upper left", framealpha=0.75, ncols=columns)


def _formatter(unit: str, highest: float) -> Any:
    if unit == "s":
        if highest > _DAY:
            return FuncFormatter(lambda value, _: f"{value / _DAY:.0f} days")
        return EngFormatter("s")
    if unit in {"bytes", "decbytes"}:
        return FuncFormatter(lambda value, _: f"{value / 2**20:.3g} MiB")
    if unit in {"Bps", "binBps"}:
        return FuncFormatter(lambda value, _: f"{value / 2**20:.3g} MiB/s")
    if unit == "percentunit":
        return PercentFormatter(1.0)
    return EngFormatter("")
