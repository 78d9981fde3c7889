"""How long a few lines take, for experiments that measure parts."""

import timeit
from collections.abc import Callable

_ROUNDS, _SECONDS = 7, 0.02


def nanoseconds(what: str | Callable[[], object], names: dict[str, object] | None = None) -> float:
    """One run of ``what``, a statement over ``names`` or a call; the least of several rounds."""
    timer = timeit.Timer(what, globals=names)
    calls, seconds = timer.autorange()
    calls = max(1, round(calls * _SECONDS / seconds))
    return min(timer.repeat(_ROUNDS, calls)) / calls * 1e9


def table(rows: dict[str, float], unit: str = "ns") -> None:
    """Print labels and figures."""
    for label, value in rows.items():
        print(f"{label:<44}{value:10,.0f} {unit}")
