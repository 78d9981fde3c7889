"""A relay as shipped and one with a change, in turns."""

from functools import partial
from types import ModuleType

from bench.compare.contenders import workshop
from bench.compare.ratios import table
from bench.compare.results import Results
from bench.compare.turns import fresh, say, take_turns, turn
from bench.support.generator import Failed

SHIPPED, CHANGED = "as shipped", "changed"


def compare(name: str, module: ModuleType, rounds: int, seconds: float, count: int) -> None:
    """Run an experiment that has a ``change``; prints its table."""
    results = Results()
    contender = getattr(module, "CONTENDER", "fastrelay")
    variants = {CHANGED: f"bench.experiments.variant {name}", SHIPPED: "fastrelay"}
    with workshop() as shop:
        for load in getattr(module, "LOADS", ()):
            with (
                shop.start(contender, module=variants[CHANGED]) as changed,
                shop.start(contender) as shipped,
            ):
                measures = {
                    CHANGED: partial(turn, changed, load, seconds),
                    SHIPPED: partial(turn, shipped, load, seconds),
                }
                try:
                    for number in range(rounds):
                        take_turns(results, load.label, measures, number)
                except Failed as failed:
                    print(f"{load.label}: the changed one fails: {failed}")
        for number in range(max(1, rounds // 2) if getattr(module, "IDLE", False) else 0):
            say(f" round {number + 1} of {max(1, rounds // 2)}")
            idle = {
                which: partial(fresh, shop, contender, count, module=variant)
                for which, variant in variants.items()
            }
            take_turns(results, "idle", idle, number)
    print(table(results, ("cpu", "memory", "cpu_upgrade"), {})[0])
