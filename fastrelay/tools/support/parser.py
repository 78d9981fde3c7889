"""Command lines of the tools."""

import argparse
from typing import Any, NoReturn

from fastrelay.config.errors import ConfigurationError
from fastrelay.tools.support.output import tell

_EXIT_UNPRINTED = 1


class CommandLineParser(argparse.ArgumentParser):
    """An argument parser that raises configuration errors, and knows whether help was printed."""

    def error(self, message: str) -> NoReturn:
        """Raise :class:`ConfigurationError`, where argparse would exit."""
        raise ConfigurationError(message, f"{self.prog} --help shows every flag and its default")

    def print_help(self, file: Any = None) -> None:
        """Print the help to stdout, and exit with 1 if that is not possible."""
        if not tell(self.prog, self.format_help()):
            self.exit(_EXIT_UNPRINTED)
