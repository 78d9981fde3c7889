"""Ratios of pairs of turns as a table, each with the interval of its median."""

from collections.abc import Mapping, Sequence
from math import comb
from statistics import median
from typing import Final

from bench.compare.figures import FIGURES, shown
from bench.compare.results import Results

_CONFIDENCE: Final = 0.95


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The bounds between which the true median lies with a confidence of 95 %.

    They are values of the sample: each value is above or below the median with equal chances, so
    that the binomial distribution says how far from the ends they stand. With fewer than six values
    no interval has that confidence, and the least and the greatest are returned.
    """
    ordered, count = sorted(values), len(values)
    cut, tail = 0, 1 / 2**count
    while 2 * (tail + (more := comb(count, cut + 1) / 2**count)) <= 1 - _CONFIDENCE:
        tail += more
        cut += 1
    return ordered[cut], ordered[-1 - cut]


def table(
    results: Results, figures: Sequence[str], bounds: Mapping[tuple[str, str], float]
) -> tuple[str, bool]:
    """Those figures of all pairs as Markdown, and whether every median is within its bound.

    Args:
        bounds: the largest ratio, by load and figure; where there is none, nothing is judged.
    """
    lines = [
        "| load | figure | one | other | ratio | 95 % interval (pairs) | at most | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    all_within = True
    for (load, ours, theirs, figure), pairs in results.pairs.items():
        ratios = [one / other for one, other in pairs if other]
        if figure not in figures or not ratios:
            continue
        sides = zip((ours, theirs), zip(*pairs, strict=True), strict=True)
        middles = [f"{name}: {shown(figure, median(side))}" for name, side in sides]
        middle, (least, most) = median(ratios), median_interval(ratios)
        bound = bounds.get((load, figure))
        all_within = all_within and (bound is None or middle <= bound)
        judged = " | |" if bound is None else _judged(middle, least, most, bound)
        lines.append(
            f"| {load} | {FIGURES[figure].what} | {' | '.join(middles)} | {middle:.3f} "
            f"| {least:.3f}–{most:.3f} ({len(ratios)}) | {judged}"
        )
    return "\n".join(lines), all_within


def _judged(middle: float, least: float, most: float, bound: float) -> str:
    if middle > bound:
        verdict = "**above**" if least > bound else "**above**, but within the noise"
    else:
        verdict = "within" if most <= bound else "within, but not beyond the noise"
    return f"{bound:g} | {verdict} |"
