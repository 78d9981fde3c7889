"""A relay as shipped and one with a change, in turns."""

from types import ModuleType
from typing import Final

from bench.compare.contenders import Workshop, workshop
from bench.compare.plan import Load, Target
from bench.compare.results import Results
from bench.compare.turns import say, show, turn
from bench.support.generator import Failed

SHIPPED, CHANGED = "as shipped", "changed"
_FIGURES: Final = {
    "cpu": ("µs CPU a message", 1e6),
    "memory": ("bytes an idle connection", 1.0),
    "cpu_upgrade": ("µs CPU an upgrade", 1e6),
}


def compare(name: str, module: ModuleType, rounds: int, seconds: float, count: int) -> None:
    """Run an experiment that has a ``change``; prints its table."""
    results = Results()
    changed = f"bench.experiments.variant {name}"
    contender = getattr(module, "CONTENDER", "fastrelay")
    with workshop() as shop:
        for load in getattr(module, "LOADS", ()):
            try:
                _under(shop, results, (contender, changed), load, rounds, seconds)
            except Failed as failed:
                print(f"{load.label}: the changed one fails: {failed}")
        if getattr(module, "IDLE", False):
            for number in range(max(1, rounds // 2)):
                say(f" round {number + 1} of {max(1, rounds // 2)}")
                _idle(shop, results, (contender, changed), count)
    for row in _rows(results):
        print(row)


def _under(
    shop: Workshop,
    results: Results,
    which: tuple[str, str],
    load: Load,
    rounds: int,
    seconds: float,
) -> None:
    contender, changed = which
    with shop.start(contender) as shipped, shop.start(contender, module=changed) as other:
        both = {SHIPPED: shipped, CHANGED: other}
        for number in range(rounds):
            found = {}
            for name in both if number % 2 else reversed(both):
                found[name] = turn(both[name], load, seconds)
                show(load.label, name, found[name])
            results.add_pair(load.label, (CHANGED, found[CHANGED]), (SHIPPED, found[SHIPPED]))


def _idle(shop: Workshop, results: Results, which: tuple[str, str], count: int) -> None:
    contender, changed = which
    found = {}
    for name, module in ((SHIPPED, "fastrelay"), (CHANGED, changed)):
        with shop.start(contender, module=module) as relay:
            relay.generator.run("connect", count=count // 4)
            found[name] = relay.generator.run("connect", count=count)
            show("idle", name, found[name])
    results.add_pair("idle", (CHANGED, found[CHANGED]), (SHIPPED, found[SHIPPED]))


def _rows(results: Results) -> list[str]:
    rows = []
    for load, ours, theirs, figure in results.pairs:
        if figure in _FIGURES:
            unit, scale = _FIGURES[figure]
            values = [
                (results.middle(load, name, figure) or 0.0) * scale for name in (theirs, ours)
            ]
            judged = results.judge(Target("", figure, load, ours, theirs, 0.0))
            assert judged is not None
            rows.append(
                f"{load:<34} {unit:<25} shipped {values[0]:8.1f}   changed {values[1]:8.1f}"
                f"   ratio {judged.value:.2f} ({judged.least:.2f}–{judged.most:.2f})"
            )
    return rows
