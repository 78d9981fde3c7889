"""Numbers as short texts, and as bars."""

from collections.abc import Iterable, Sequence
from typing import Final

_BARS: Final = "▁▂▃▄▅▆▇█"
_UNITS: Final = ("", "k", "M", "G", "T", "P")
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

Values = Sequence[float | None]
"""``None`` where nothing is known."""


def count(value: float | None) -> str:
    """A count or a rate in at most six characters."""
    if value is None:
        return "–"
    if value < 100 and value != int(value):
        return f"{value:.1f}"
    for unit in _UNITS:
        if value < 99_999.5:
            return f"{value:.0f}" if not unit else f"{value:.4g}{unit}"
        value /= 1000
    return "huge"


def size(value: float | None) -> str:
    """A number of bytes."""
    if value is None:
        return "–"
    for unit in _SIZES[:-1]:
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.0f} {_SIZES[-1]}"


def milliseconds(seconds: float | None) -> str:
    """A time, with its unit."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{count(seconds)} s"


def duration(seconds: float) -> str:
    """A long time, in its two largest units."""
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {int(seconds) % 60} s"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def highest(values: Iterable[float | None]) -> float:
    """The highest of the known values; 0.0 without any."""
    return max((value for value in values if value is not None), default=0.0)


def sparkline(values: Values) -> str:
    """The values as a line of bars, scaled to the highest value; a space for an unknown one."""
    return chart(values, 1)[0]


def chart(values: Values, rows: int) -> list[str]:
    """The values as bars over several rows, scaled to the highest value.

    A known value has at least the smallest bar.
    """
    top = highest(values) or 1.0
    steps = [
        0 if value is None else max(1, min(8 * rows, int(value / top * 8 * rows + 0.001)))
        for value in values
    ]
    lines = []
    for row in reversed(range(rows)):
        filled = (min(8, max(0, step - 8 * row)) for step in steps)
        lines.append("".join(_BARS[eighths - 1] if eighths else " " for eighths in filled))
    return lines
