"""The processes that attack in one load."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bench.hostile.attacker import Attack, Plan
from bench.hostile.connects import Connects, Silence
from bench.hostile.loads import Load
from bench.hostile.process import Child

PROCESSES: Final = 2
"""For each flood, and for the silent connects: each may fill a core."""


@dataclass(frozen=True, slots=True)
class Strength:
    """How strong an attack is.

    Attributes:
        attackers: connections of the loads that have no number of their own.
        scale: share of the connections and connects of those that have.
        redial_burst, redial_seconds: upgrades after set-up, for all attackers together.
    """

    attackers: int = 16
    scale: float = 1.0
    redial_burst: float = 20.0
    redial_seconds: float = 6.0

    def count(self, number: int) -> int:
        """Connections of a flood that a load gives this number."""
        return max(1, round(number * self.scale)) if number else self.attackers


class Attackers:
    """All attacking processes of one load, set up and told to begin and to stop together."""

    def __init__(self, children: list[Child], wanted: int) -> None:
        self._children = children
        self._wanted = wanted

    def begin(self) -> None:
        """Attack, from now on.

        Raises:
            Failed: one could not be set up.
        """
        for child in self._children:
            child.wait()
        for child in self._children:
            child.tell()

    def stop(self) -> dict[str, Any]:
        """What they say about it, added up.

        Raises:
            Failed: one had ended.
        """
        for child in self._children:
            child.tell()
        total: Counter[str] = Counter(wanted=self._wanted, connected=0, sent=0)
        named: dict[str, Counter[str]] = {"ended": Counter(), "answered": Counter()}
        for child in self._children:
            for name, value in child.wait().items():
                if isinstance(value, dict):
                    named[name].update(value)
                else:
                    total[name] += value
        return {**total, **named}


@contextlib.contextmanager
def attackers(port: int, tls: bool, load: Load, strength: Strength) -> Iterator[Attackers]:
    """Start them; they connect at once, and nothing of them is left afterwards."""
    with contextlib.ExitStack() as stack:
        children, wanted = [], 0
        for flood, number in load.floods.items():
            wanted += strength.count(number)
            for share in _shares(strength.count(number)):
                plan = Plan(
                    *(port, tls, flood, share, load.sources),
                    strength.redial_burst / PROCESSES,
                    strength.redial_seconds * PROCESSES,
                )
                children.append(stack.enter_context(Child(Attack, plan)))
        if load.connects:
            rate = load.connects * strength.scale / PROCESSES
            for _ in range(PROCESSES):
                silent = Connects(port, rate, load.sources[0])
                children.append(stack.enter_context(Child(Silence, silent)))
        yield Attackers(children, wanted)


def _shares(count: int) -> list[int]:
    """Connections of each process."""
    shares = [(count + number) // PROCESSES for number in range(PROCESSES)]
    return [share for share in shares if share]


def flood_for(port: int, name: str, seconds: float, count: int) -> dict[str, Any]:
    """Attack a relay with one flood for a while, and measure nothing: for the soak.

    Raises:
        Failed: the attackers could not be set up, or ended early.
    """
    with attackers(port, False, Load(what=name, floods={name: count}), Strength()) as group:
        group.begin()
        time.sleep(seconds)
        return group.stop()
