"""Turns of what is compared, one after another, and what is shown of them while a run goes on."""

import sys
from collections.abc import Callable, Mapping
from itertools import pairwise

from bench.compare.contenders import Contender, Workshop
from bench.compare.figures import FIGURES, shown
from bench.compare.plan import Load
from bench.compare.results import Results

Measure = Callable[[], Mapping[str, float]]
"""Measures one turn; returns its figures."""


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def show(label: str, name: str, found: Mapping[str, float]) -> None:
    """The figures of a turn, as progress."""
    figures = "  ".join(f"{name} {shown(name, found[name])}" for name in found if name in FIGURES)
    say(f"  {label:<30} {name:<16} {figures}")


def turn(contender: Contender, load: Load, seconds: float) -> dict[str, float]:
    """One turn of a contender, on connections of its own.

    Raises:
        Failed: a reply was wrong.
    """
    return contender.generator.run(load.shape, **load.arguments(), seconds=seconds)


def fresh(
    shop: Workshop, name: str, count: int, warm_up: int = 0, module: str = "fastrelay"
) -> dict[str, float]:
    """Idle connections of a relay that is started for them.

    Args:
        warm_up: connections before those that are measured: they make what is made once, and fill
            memory that was freed at start, which would flatter. 0: a quarter of ``count``.
    """
    with shop.start(name, module=module) as contender:
        return fill(contender, count, warm_up)


def fill(contender: Contender, count: int, warm_up: int = 0) -> dict[str, float]:
    """Idle connections of a relay that has none; see :func:`fresh`."""
    contender.generator.run("connect", count=warm_up or count // 4)
    return contender.generator.run("connect", count=count)


def take_turns(results: Results, label: str, measures: Mapping[str, Measure], number: int) -> None:
    """One turn of each; the order changes from one ``number`` to the next.

    Each is paired in ``results`` with the one that follows it in ``measures``.
    """
    found = {}
    for name in reversed(measures) if number % 2 else measures:  # type: ignore[call-overload]
        found[name] = measures[name]()
        show(label, name, found[name])
    if len(found) == 1:
        results.add(label, *found.popitem())
    for ours, theirs in pairwise(measures):
        results.add_pair(label, (ours, found[ours]), (theirs, found[theirs]))
