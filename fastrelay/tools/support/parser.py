"""Command lines of the tools."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from fastrelay.config.errors import ConfigurationError
from fastrelay.config.spelling import did_you_mean
from fastrelay.config.values import quoted
from fastrelay.tools.support.output import tell

_EXIT_UNPRINTED = 1
_LOOKS_LIKE_A_FLAG: Final = re.compile(r"--|-[A-Za-z]")
"""A number below zero does not."""


class CommandLineParser(argparse.ArgumentParser):
    """An argument parser that raises configuration errors, and knows whether help was printed."""

    def __init__(self, **options: Any) -> None:
        self._flags: list[str] = []
        super().__init__(allow_abbrev=False, **options)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """Add an argument, and remember its names if it is a flag."""
        action = super().add_argument(*names, **options)
        self._flags.extend(action.option_strings)
        return action

    def parse(self, given: Sequence[str]) -> argparse.Namespace:
        """The parsed arguments.

        Raises:
            ConfigurationError: they cannot be used. An unknown flag is named first: argparse would
                take what follows it for something else, and complain about that.
        """
        for argument in given:
            name = argument.partition("=")[0]
            if argument == "--":
                break
            if _LOOKS_LIKE_A_FLAG.match(name) and name not in self._flags:
                meant = did_you_mean(name, self._flags)
                self._refuse(f"there is no flag {quoted(name)}", meant)
        return self.parse_args(given)

    def error(self, message: str) -> NoReturn:
        """Raise :class:`ConfigurationError`, where argparse would exit."""
        self._refuse(message)

    def _refuse(self, what: str, meant: str = "") -> NoReturn:
        help_says = f"{self.prog} --help shows every flag and its default"
        raise ConfigurationError(what, f"{meant}{help_says}")

    def print_help(self, file: Any = None) -> None:
        """Print the help to stdout, and exit with 1 if that is not possible."""
        if not tell(self.prog, self.format_help()):
            self.exit(_EXIT_UNPRINTED)
