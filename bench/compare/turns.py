"""One turn of one contender, and what is shown of it while a run goes on."""

import sys
from collections.abc import Mapping

from bench.compare.contenders import Contender
from bench.compare.plan import Load


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def turn(contender: Contender, load: Load, seconds: float) -> dict[str, float]:
    """One turn of a contender.

    Raises:
        Failed: a reply was wrong.
    """
    return contender.generator.run(load.shape, **load.arguments(seconds))


def show(label: str, name: str, found: Mapping[str, float]) -> None:
    """A turn's figures, as progress."""
    shown = "  ".join(f"{figure} {value:.3g}" for figure, value in found.items())
    say(f"  {label:<30} {name:<16} {shown}")
