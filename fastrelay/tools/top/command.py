"""The command line of ``fastrelay top``."""

import importlib.util
import sys
import time
from collections.abc import Sequence

from fastrelay.config.errors import ConfigurationError, install_extra
from fastrelay.config.values import number
from fastrelay.tools.support.parser import CommandLineParser

EXIT_UNAVAILABLE = 1


def main(arguments: Sequence[str]) -> int:
    """Show a relay once or until interrupted; returns the exit code.

    Raises:
        ConfigurationError: the arguments are not valid, or the extra is not installed.
    """
    parser = CommandLineParser(
        prog="fastrelay top",
        description="A live view of a running relay: rates, outcomes, drops, backlog, latency.",
        epilog="exit codes: 0, 1 when there is nothing to show, 2 when the arguments make no sense",
        allow_abbrev=False,
    )
    parser.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        default="http://127.0.0.1:9090/metrics",
        help="the relay's metrics page (default: %(default)s)",
    )
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=number(float, 0.1, 3600),
        default=1.0,
        help="between two looks (default: %(default)g)",
    )
    parser.add_argument("--once", action="store_true", help="look twice, print, and exit")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("rich") is None:
        raise ConfigurationError("fastrelay top needs the extra top", install_extra("top"))
    return _show(options.url, options.interval, once=options.once)


def _show(url: str, interval: float, *, once: bool) -> int:
    from rich.console import Console
    from rich.live import Live

    from fastrelay.tools.top.scrape import PageUnavailable, ScrapeDelta, scrape
    from fastrelay.tools.top.view import WIDTH, View

    console = Console(width=WIDTH if once else None, highlight=False)
    view = View(url)
    try:
        before = scrape(url)
        if once:
            time.sleep(interval)
            console.print(view.render(ScrapeDelta(before, scrape(url))))
            return 0
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                after = scrape(url)
                live.update(view.render(ScrapeDelta(before, after)), refresh=True)
                before = after
    except PageUnavailable as error:
        sys.stderr.write(f"fastrelay top: {error}\n")
        sys.stderr.write("fastrelay top: is the relay running here, with --metrics-listen?\n")
        return EXIT_UNAVAILABLE
    except KeyboardInterrupt:
        return 0
