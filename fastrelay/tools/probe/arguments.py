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
"""Seconds between two rounds that the default rate limit of a relay permanently allows."""

_DESCRIPTION: Final = f"""\
Checks a running relay from outside. It connects as a binary with a random
server-id, and as several of its phones. It sends frames in both directions,
compares every byte, and closes connections in each way that the protocol
defines. Other connections of the relay are not affected.

It prints a line for each step. If a step fails, it prints what was expected and
what was received, and stops. With --interval it prints a line for each round
instead, and continues until it is told to stop (SIGINT, SIGTERM).

A round makes {UPGRADES} of the upgrade attempts that the relay allows this address. The
default limits of a relay permanently allow one round every {SUSTAINED:g} s.
"""

_EXIT_CODES: Final = """\
exit codes:
  0    all is well; or, with --interval, it was told to stop
  1    a step failed, or the metrics file cannot be written; or, with
       --interval, stdout cannot be written to
  2    the arguments are not valid
  3    all steps passed, but the certificate expires within --warn-days
  130  it was interrupted (Ctrl-C)
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
        help="connect to this address; TLS and the Host header still use the host of the URL",
    )
    parser.add_argument(
        "--warn-days",
        metavar="DAYS",
        type=number(float, 0),
        help="with wss://: warn if the certificate expires within this number of days",
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
        help="begin a round every SECONDS, without end, and print a line for each round "
        "(default: one round)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print only a JSON object for each round, in one line; times are in seconds",
    )
    parser.add_argument(
        "--metrics-file",
        metavar="FILE",
        type=Path,
        help="after each round, write its metrics to this file, for the textfile collector of "
        "node_exporter; the collector reads only names that end in .prom",
    )
