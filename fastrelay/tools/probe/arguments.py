"""The command line of ``fastrelay probe``."""

import argparse
from pathlib import Path
from typing import Final

from fastrelay.config.settings import Limits
from fastrelay.config.values import number
from fastrelay.tools.probe.checks import UPGRADES
from fastrelay.tools.support.parser import CommandLineParser

PROGRAM: Final = "fastrelay probe"

SUSTAINED: Final = UPGRADES * Limits().upgrade_refill
"""Seconds between two rounds that a relay with its default rate limit can take for ever."""

_DESCRIPTION: Final = f"""\
Checks a running relay from outside: connects as a binary under a random
server-id and as phones of it, sends frames both ways and compares every byte,
and closes in the ways that have a meaning. Other connections are not touched.

Prints a line for each step as it finishes. At the first that fails it says what
was expected and what came instead, and stops. With --interval it prints a line
for each round instead, and goes on until it is told to stop (SIGINT, SIGTERM).
A round takes {UPGRADES} of the upgrade attempts that the relay grants this address. Its
usual limits last for a round every {SUSTAINED:g} s.
"""

_EXIT_CODES: Final = """\
exit codes:
  0    all is well, or with --interval: it was told to stop
  1    a step failed, the metrics file cannot be written, or with --interval:
       stdout cannot be written to
  2    the arguments make no sense
  3    all steps passed, but the certificate expires within --warn-days
  130  interrupted
"""


def probe_parser() -> CommandLineParser:
    """The parser of all arguments."""
    parser = CommandLineParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", metavar="URL", help="ws://HOST:PORT or wss://HOST:PORT, no path")
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        help="with wss://: the CA certificates to trust, as PEM (default: the system's)",
    )
    parser.add_argument(
        "--connect-to",
        metavar="HOST:PORT",
        help="connect to this address; the host of the URL is still the name that is asked for",
    )
    parser.add_argument(
        "--warn-days",
        metavar="DAYS",
        type=number(float, 0),
        help="with wss://: warn if the certificate expires within so many days",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=number(float, 0.001),
        default=30,
        help="how long all steps of a round together may take (default: %(default)g)",
    )
    _add_repetition(parser)
    return parser


def _add_repetition(parser: CommandLineParser) -> None:
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=number(float, 0.01),
        help="begin a round so often, for ever, with a line for each (default: one round)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a JSON object in a line for each round, and nothing else; times in seconds",
    )
    parser.add_argument(
        "--metrics-file",
        metavar="FILE",
        type=Path,
        help="after each round, write Prometheus metrics of it here in one piece, for the textfile "
        "collector of node_exporter, which wants a name ending in .prom",
    )
