"""Pictures of a comparison, for ``docs/images`` (extra ``bench``)."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.compare.contenders import NAMES
from bench.compare.plan import FOUR, SIZES, Load
from bench.compare.results import Results


def draw(results: Results, directory: Path) -> list[Path]:
    """``cpu.png``: every contender under the four loads; ``sizes.png``: ours and Go's by size.

    Returns the files; none, with a word on stderr, where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no pictures: pip install '.[bench]'", file=sys.stderr)
        return []
    directory.mkdir(exist_ok=True)
    files = []
    for name, paint in (("cpu", _bars), ("sizes", _sizes)):
        picture = Figure(figsize=(10, 4.5), layout="constrained")
        axes = picture.subplots()
        paint(axes, results)
        axes.set_yscale("log")
        axes.set_ylabel("CPU of the relay a round trip, µs")
        axes.legend(fontsize=8, ncols=3)
        files.append(directory / f"{name}.png")
        picture.savefig(files[-1], dpi=110)
    return files


def _bars(axes: Any, results: Results) -> None:
    measured = {name for _, name, figure in results.values if figure == "cpu"}
    names = [name for name in NAMES if name in measured]
    width = 0.85 / max(1, len(names))
    for number, name in enumerate(names):
        places = [place + number * width for place in range(len(FOUR))]
        axes.bar(places, _microseconds(results, FOUR, name), width * 0.95, label=name)
    axes.set_xticks([place + width * (len(names) - 1) / 2 for place in range(len(FOUR))])
    axes.set_xticklabels([f"{load.label}" for load in FOUR])


def _sizes(axes: Any, results: Results) -> None:
    loads = [Load(16, size, 1) for size in SIZES]
    for name in ("fastrelay", "fastrelay tls", "go", "go tls"):
        axes.plot(SIZES, _microseconds(results, loads, name), marker="o", label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(SIZES)
    axes.set_xticklabels([f"{size:,}" for size in SIZES])
    axes.set_xlabel("bytes a message, one of each phone on its way")


def _microseconds(results: Results, loads: Sequence[Load], name: str) -> list[float]:
    middles = [results.middle(load.label, name, "cpu") for load in loads]
    return [float("nan") if value is None else value * 1e6 for value in middles]
