"""The command line of ``fastrelay top``."""

import argparse
import asyncio
import importlib.util
from collections.abc import Sequence
from typing import Final

from fastrelay.config.errors import ConfigurationError, install_extra
from fastrelay.config.values import number
from fastrelay.tools.support.endpoint import split_url
from fastrelay.tools.support.output import complain, tell
from fastrelay.tools.support.parser import CommandLineParser
from fastrelay.tools.support.printable import printable
from fastrelay.tools.top.scrape import PageUnavailable, ScrapeDelta, Source, scrape

EXIT_SHOWN: Final = 0
EXIT_UNAVAILABLE: Final = 1
EXIT_INTERRUPTED: Final = 130

_PROGRAM: Final = "fastrelay top"
_EXAMPLES: Final = "for example http://127.0.0.1:9090/metrics"

_DESCRIPTION: Final = """\
Shows a live view of a running relay, from its metrics: rates and their history,
outcomes, dropped frames, backlog, latency, workers. The view continues while
the relay restarts.
"""

_KEYS_AND_CODES: Final = """\
keys: q quit; p or space pause; + and - change the interval; h or ? help

exit codes:
  0    it was told to stop; or, with --once, it has printed
  1    the metrics cannot be read at the beginning, or cannot be printed
  2    the arguments are not valid, or there is no terminal to draw on
  130  it was interrupted before there was anything to show
"""


def main(arguments: Sequence[str]) -> int:
    """Show a relay once or until interrupted; returns the exit code.

    Raises:
        ConfigurationError: the arguments are not valid, or the extra is not installed.
    """
    options = _parser().parse(arguments)
    if importlib.util.find_spec("rich") is None:
        raise ConfigurationError("fastrelay top needs the extra top", install_extra("top"))
    parts = split_url(options.url, "http", _EXAMPLES)
    target = "/metrics" if parts.target == "/" else parts.target
    source = Source(
        printable(options.url), parts.endpoint("http", options.ca_file), target, options.timeout
    )
    try:
        if options.once:
            return asyncio.run(_show_once(source, options.interval))
        return _show(source, options.interval)
    except PageUnavailable as error:
        complain(_PROGRAM, f"{source.url}: {error}")
        return EXIT_UNAVAILABLE
    except KeyboardInterrupt:  # before there was anything to show
        return EXIT_INTERRUPTED


def _parser() -> CommandLineParser:
    parser = CommandLineParser(
        prog=_PROGRAM,
        description=_DESCRIPTION,
        epilog=_KEYS_AND_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        default="http://127.0.0.1:9090/metrics",
        help="the relay's metrics page (default: %(default)s)",
    )
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        help="with https://: the CA certificates to trust, as PEM (default: the system's)",
    )
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=number(float, 0.1, 3600),
        default=1.0,
        help="the time between two updates (default: %(default)g)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=number(float, 0.001, 3600),
        default=5.0,
        help="how long reading the metrics once may take (default: %(default)g)",
    )
    parser.add_argument(
        "--once", action="store_true", help="read the metrics twice, print plain text, and exit"
    )
    return parser


async def _show_once(source: Source, interval: float) -> int:
    from fastrelay.tools.top.view import View

    before = await scrape(source)
    await asyncio.sleep(interval)
    view = View(source.url, interval)
    view.add(ScrapeDelta(before, await scrape(source)))
    return EXIT_SHOWN if tell(_PROGRAM, view.plain()) else EXIT_UNAVAILABLE


def _show(source: Source, interval: float) -> int:
    from fastrelay.tools.top.live import show
    from fastrelay.tools.top.terminal import Terminal

    terminal = Terminal()
    if not terminal.is_usable:
        raise ConfigurationError(
            "fastrelay top draws on a terminal, and stdout is none", "give --once for plain text"
        )
    try:
        asyncio.run(show(source, interval, terminal))
    except OSError as error:
        complain(_PROGRAM, f"the terminal cannot be written to: {error.strerror}")
        return EXIT_UNAVAILABLE
    return EXIT_SHOWN
