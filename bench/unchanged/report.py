"""The table at the end: ratio of each figure with its interval, and the bound beside it."""

from collections.abc import Sequence
from math import comb
from statistics import median
from typing import Final, NamedTuple

from bench.compare.results import Results


class Figure(NamedTuple):
    """How a figure is shown and judged.

    Attributes:
        scale: from the unit of the results to the unit that is shown.
        bound: the largest ratio that counts as unchanged; 0.0: the figure is not judged.
    """

    what: str
    scale: float
    bound: float


FIGURES: Final = {
    "instructions": Figure("instructions a message", 1.0, 1.02),
    "cpu": Figure("µs CPU a message", 1e6, 1.03),
    "cpu_upgrade": Figure("µs CPU an upgrade", 1e6, 1.03),
    "memory": Figure("bytes an idle connection", 1.0, 1.03),
}
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


def table(results: Results) -> tuple[str, bool]:
    """Everything as Markdown, and whether every median is within its bound."""
    lines = [
        "| load | figure | one | other | ratio | 95 % interval (pairs) | at most | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    all_within = True
    for (load, ours, theirs, name), pairs in results.pairs.items():
        if name not in FIGURES:
            continue
        figure = FIGURES[name]
        ratios = [one / other for one, other in pairs if other > 0]
        if not ratios:
            continue
        flood = load.startswith("flood")
        sides = zip((ours, theirs), zip(*pairs, strict=True), strict=True)
        middles = [f"{which}: {_shown(median(side) * figure.scale)}" for which, side in sides]
        least, most = median_interval(ratios)
        verdict = "" if flood else _verdict(median(ratios), least, most, figure.bound)
        all_within = all_within and "above" not in verdict
        bound = "" if flood else f"{figure.bound:g}"
        lines.append(
            f"| {load} | {figure.what} | {' | '.join(middles)} | {median(ratios):.3f} "
            f"| {least:.3f}–{most:.3f} ({len(ratios)}) | {bound} | {verdict} |"
        )
    return "\n".join(lines), all_within


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _verdict(middle: float, least: float, most: float, bound: float) -> str:
    if middle > bound:
        return "**above**" if least > bound else "**above**, but within the noise"
    return "within" if most <= bound else "within, but not beyond the noise"
