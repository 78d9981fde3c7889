"""What was measured, round by round, and what is said of it."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from bench.compare.plan import Target


class Judgement(NamedTuple):
    """A target beside what was measured: the median of the rounds, and their least and most."""

    target: Target
    value: float
    least: float
    most: float
    rounds: int

    @property
    def met(self) -> bool:
        """Whether the median is within the bound."""
        return self.value <= self.target.bound


class Results:
    """Every figure of every turn; none is left out.

    Attributes:
        values: by load, contender and figure: one value a turn.
        pairs: by load, the two contenders and figure: both values of two turns next to each other.
    """

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self.pairs: dict[tuple[str, str, str, str], list[tuple[float, float]]] = defaultdict(list)

    def add(self, load: str, name: str, found: Mapping[str, float]) -> None:
        """The figures of one turn."""
        for figure, value in found.items():
            self.values[load, name, figure].append(value)

    def add_pair(
        self,
        load: str,
        ours: tuple[str, Mapping[str, float]],
        theirs: tuple[str, Mapping[str, float]],
    ) -> None:
        """The figures of two turns next to each other."""
        for name, found in (ours, theirs):
            self.add(load, name, found)
        for figure in ours[1].keys() & theirs[1].keys():
            key = load, ours[0], theirs[0], figure
            self.pairs[key].append((ours[1][figure], theirs[1][figure]))

    def middle(self, load: str, name: str, figure: str) -> float | None:
        """The median; ``None`` if there is nothing."""
        values = self.values.get((load, name, figure))
        return median(values) if values else None

    def judge(self, target: Target) -> Judgement | None:
        """A target's verdict; ``None`` if it was not measured.

        A ratio is taken within each pair of turns, and the median over the pairs: what else the
        machine does meanwhile hits both alike.
        """
        if target.theirs:
            key = target.load, target.ours, target.theirs, target.figure
            rounds = [ours / theirs for ours, theirs in self.pairs.get(key, []) if theirs]
        else:
            rounds = self.values.get((target.load, target.ours, target.figure), [])
        if not rounds:
            return None
        return Judgement(target, median(rounds), min(rounds), max(rounds), len(rounds))

    def json(self) -> str:
        """Everything, to five digits, one line an entry."""
        sections = []
        for name, entries in (("values", self.values), ("pairs", self.pairs)):
            lines = [
                f"  {json.dumps(' / '.join(key))}: {json.dumps(_short(figures))}"
                for key, figures in entries.items()
            ]
            sections.append(f' "{name}": {{\n' + ",\n".join(lines) + "\n }")
        return "{\n" + ",\n".join(sections) + "\n}\n"


def _short(figures: Sequence[float | tuple[float, float]]) -> list[object]:
    return [
        _short(figure) if isinstance(figure, tuple) else float(f"{figure:.5g}")
        for figure in figures
    ]
