"""The command line of ``fastrelay probe``: reads the arguments, runs rounds, prints results."""

import argparse
import asyncio
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from fastrelay.config.checks import CommandLineParser, client_ssl_context
from fastrelay.config.errors import ConfigurationError
from fastrelay.config.values import number
from fastrelay.tools.probe.checks import STEPS, Result
from fastrelay.tools.probe.client import Endpoint
from fastrelay.tools.probe.rounds import Round, as_json, as_line, run_round, write_metrics

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130

_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]+")
_EXAMPLES: Final = "for example ws://127.0.0.1:8080 or wss://relay.example.com"
_NAME_WIDTH: Final = max(len(step.name) for step in STEPS)

_DESCRIPTION: Final = """\
Checks a running relay from outside: connects as a binary under a random server-id and as phones
of it, sends frames both ways and compares every byte, and closes in the ways that have a meaning.
Other connections are not touched. A run takes four of the upgrade attempts that the relay
grants this address.

Prints a line for each step as it finishes. At the first that fails it says what was expected and
what came instead, and stops. With --interval it prints a line for each round instead, and goes on
until it is told to stop (SIGINT, SIGTERM). The relay's usual limits last for a round every 24 s.
"""

_EXIT_CODES: Final = """\
exit codes: 0 all is well, or with --interval: it was told to stop; 1 a step failed, or the metrics
file cannot be written; 2 the arguments make no sense
"""


def main(arguments: Sequence[str]) -> int:
    """Check the relay that ``arguments`` name; returns the exit code.

    Raises:
        ConfigurationError: the arguments are not valid.
    """
    options = _parser().parse_args(arguments)
    endpoint = parse_endpoint(options.url, options.ca_file)
    output = Output(as_json=options.json, metrics_file=options.metrics_file)
    if output.metrics_file is not None and not os.access(output.metrics_file.parent, os.W_OK):
        raise ConfigurationError(
            f"--metrics-file {str(output.metrics_file)!r}: nothing can be put into its directory",
            "name a file in node_exporter's --collector.textfile.directory, ending in .prom",
        )
    try:
        if options.interval is not None:
            return asyncio.run(keep_probing(endpoint, options.timeout, options.interval, output))
        return asyncio.run(probe(endpoint, options.timeout, output))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone. Python flushes stdout at exit, which must not raise
        # the error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def _parser() -> CommandLineParser:
    parser = CommandLineParser(
        prog="fastrelay probe",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", help="ws://HOST:PORT or wss://HOST:PORT, no path")
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        help="with wss://: the CA certificates to trust, as PEM (default: the system's)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=number(float, 0.001),
        default=10,
        help="how long each step may take (default: %(default)g)",
    )
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
    return parser


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How results are reported, besides the exit code.

    Attributes:
        as_json: whether JSON is printed instead of text.
        metrics_file: where Prometheus metrics are written after each round, if anywhere.
    """

    as_json: bool = False
    metrics_file: Path | None = None

    def write_metrics_file(self, outcome: Round) -> bool:
        """Write the metrics file, if one is wanted; returns ``False`` if that failed."""
        if self.metrics_file is None:
            return True
        try:
            write_metrics(outcome, self.metrics_file)
        except OSError as error:
            sys.stderr.write(f"fastrelay probe: {self.metrics_file}: {error.strerror}\n")
            return False
        return True


_TEXT_ONLY: Final = Output()


async def probe(endpoint: Endpoint, step_timeout: float, output: Output = _TEXT_ONLY) -> int:
    """Check a relay once and print the results; returns the exit code.

    Args:
        endpoint: where the relay listens.
        step_timeout: the seconds that one step may take.
        output: how the results are reported.
    """

    def report(result: Result) -> None:
        if not output.as_json:
            print(render(result), flush=True)

    outcome = await run_round(endpoint, step_timeout, report)
    written = output.write_metrics_file(outcome)
    if output.as_json:
        print(as_json(outcome), flush=True)
    elif outcome.failure is None:
        took = _milliseconds(outcome.seconds)
        print(f"{endpoint} works: {len(outcome.results)} steps in {took}", flush=True)
    return EXIT_PASSED if outcome.failure is None and written else EXIT_FAILED


async def keep_probing(
    endpoint: Endpoint, step_timeout: float, interval: float, output: Output
) -> int:
    """Check a relay repeatedly until SIGINT or SIGTERM; returns the exit code.

    A round that is under way at the signal is cancelled, and its connections are aborted.

    Args:
        endpoint: where the relay listens.
        step_timeout: the seconds that one step may take.
        interval: the seconds from the start of a round to the start of the next. After a round that
            takes longer, the next one starts at once.
        output: how the results are reported.
    """
    loop = asyncio.get_running_loop()

    async def rounds() -> None:
        while True:
            due = loop.time() + interval
            outcome = await run_round(endpoint, step_timeout)
            output.write_metrics_file(outcome)
            print(as_json(outcome) if output.as_json else as_line(outcome), flush=True)
            await asyncio.sleep(due - loop.time())

    task = asyncio.create_task(rounds())
    for stop_signal in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(stop_signal, task.cancel)
    await asyncio.wait({task})
    if not task.cancelled():
        await task  # only an exception ends the task otherwise, and it is raised here
    return EXIT_PASSED


def render(result: Result) -> str:
    """The result of a step as text for people: one line, or several for a failure."""
    if result.failure is not None:
        failure = result.failure
        lines = [
            f"FAIL {result.step}",
            f"  expected: {failure.expected}",
            f"  got:      {failure.got}",
        ]
        return "\n".join([*lines, f"  hint:     {failure.hint}"] if failure.hint else lines)
    line = f"ok   {result.step:{_NAME_WIDTH}} {_milliseconds(result.seconds):>12}"
    measured = (f"{name} {_milliseconds(value)}" for name, value in result.measured.items())
    return f"{line}   {', '.join(measured)}".rstrip()


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def parse_endpoint(url: str, ca_file: str | None = None) -> Endpoint:
    """The endpoint of a URL of the form ``ws://HOST``, ``wss://HOST``, or with ``:PORT``.

    Args:
        url: the URL.
        ca_file: a PEM file of the CA certificates to trust; ``None`` for the system's.

    Raises:
        ConfigurationError: the URL has another form, or ``ca_file`` cannot be used. The text never
            quotes the URL, because it may contain a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except ValueError:  # UnicodeError of idna is a ValueError
        raise ConfigurationError("the URL has no HOST:PORT that can be used", _EXAMPLES) from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ConfigurationError("the URL does not begin with ws:// or wss://", _EXAMPLES)
    if not _HOST.fullmatch(host) or port == 0:
        raise ConfigurationError("the URL has no HOST:PORT that can be used", _EXAMPLES)
    if not _is_origin_only(parts):
        raise ConfigurationError("the URL has more than a scheme, a host and a port", _EXAMPLES)
    tls = client_ssl_context("--ca-file", ca_file) if parts.scheme == "wss" else None
    if ca_file is not None and tls is None:
        raise ConfigurationError(
            "--ca-file has no meaning with ws://", "leave it out, or use wss://"
        )
    return Endpoint(host, port or _DEFAULT_PORTS[parts.scheme], tls)


def _is_origin_only(parts: SplitResult) -> bool:
    # The paths of the relay's endpoints are fixed, so a URL with a path must be a mistake.
    has_user = "@" in parts.netloc
    return parts.path in {"", "/"} and not (has_user or parts.query or parts.fragment)
