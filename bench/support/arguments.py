"""Command lines: options that name their default, and lists of known names."""

import argparse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any


class Arguments(argparse.ArgumentParser):
    """The command line of ``python -m bench NAME``."""

    def __init__(self, name: str, description: str | None, epilog: str = "") -> None:
        super().__init__(
            prog=f"python -m bench {name}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def option(self, flag: str, default: Any, what: str, **more: Any) -> None:
        """An option of its default's type; the help ends with the default."""
        shown = f"{default:g}" if isinstance(default, float) else default
        if isinstance(default, str | int | float):
            more["type"] = type(default)
        help_text = f"{what}; default: {shown if shown not in ('', None) else 'none'}"
        self.add_argument(flag, default=default, help=help_text, **more)

    def names(self, flag: str, known: Collection[str], what: str) -> None:
        """An option that takes several of the known names; without it: all of them."""
        self.add_argument(
            flag,
            type=some_of(known),
            default=list(known),
            metavar="NAMES",
            help=f"{what}, of {','.join(known)}; default: all",
        )

    def file(self, flag: str, what: str) -> None:
        """An option that takes a path."""
        self.add_argument(flag, type=Path, metavar="FILE", help=what)


def some_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """What reads a comma-separated list of known names."""

    def parse(text: str) -> list[str]:
        chosen = [item.strip() for item in text.split(",")]
        if unknown := set(chosen) - set(known):
            given = ", ".join(sorted(unknown))
            raise argparse.ArgumentTypeError(f"{given}: known are {', '.join(known)}")
        return chosen

    return parse
