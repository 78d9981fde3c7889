"""How long a few lines take, for experiments that measure parts."""

import timeit
from collections.abc import Callable

_ROUNDS, _SECONDS, _FIRST = 7, 0.02, 10


def nanoseconds(what: str | Callable[[], object], names: dict[str, object] | None = None) -> float:
    """One run of ``what``, a statement over ``names`` or a call; the least of several rounds."""
    timer = timeit.Timer(what, globals=names)
    timer.timeit(_FIRST)
    calls = max(1, round(_FIRST * _SECONDS / timer.timeit(_FIRST)))
    return min(timer.repeat(_ROUNDS, calls)) / calls * 1e9


def table(rows: dict[str, float], unit: str = "ns") -> None:
    """Print labels and figures."""
    for label, value in rows.items():
        print(f"{label:<44}{value:10,.0f} {unit}")
