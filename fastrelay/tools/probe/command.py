"""``fastrelay probe``: runs rounds, prints results."""

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastrelay.config.errors import ConfigurationError
from fastrelay.config.settings import Limits
from fastrelay.tools.probe.arguments import PROGRAM, SUSTAINED, probe_parser
from fastrelay.tools.probe.checks import STEPS, UPGRADES, Result
from fastrelay.tools.probe.rounds import (
    Round,
    as_json,
    as_line,
    iso_time,
    run_round,
    write_metrics,
)
from fastrelay.tools.support.endpoint import Endpoint, host_and_port, split_url
from fastrelay.tools.support.output import complain, tell

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1
EXIT_EXPIRES_SOON: Final = 3
EXIT_INTERRUPTED: Final = 130

_EXAMPLES: Final = "for example ws://127.0.0.1:8080 or wss://relay.example.com"
_NAME_WIDTH: Final = max(len(step.name) for step in STEPS)


def main(arguments: Sequence[str]) -> int:
    """Check the relay that ``arguments`` name; returns the exit code.

    Raises:
        ConfigurationError: the arguments are not valid.
    """
    options = probe_parser().parse(arguments)
    endpoint = parse_endpoint(options.url, options.ca_file, options.connect_to)
    output = Output(
        as_json=options.json, metrics_file=options.metrics_file, warn_days=options.warn_days
    )
    if output.metrics_file is not None and not os.access(output.metrics_file.parent, os.W_OK):
        raise ConfigurationError(
            f"--metrics-file {str(output.metrics_file)!r}: nothing can be put into its directory",
            "name a file in node_exporter's --collector.textfile.directory, ending in .prom",
        )
    if output.warn_days is not None and endpoint.tls is None:
        raise ConfigurationError(
            "--warn-days has no meaning with ws://", "leave it out, or use wss://"
        )
    try:
        if options.interval is None:
            return asyncio.run(probe(endpoint, options.timeout, output))
        _warn_of_rate_limit(options.interval)
        return asyncio.run(keep_probing(endpoint, options.timeout, options.interval, output))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _warn_of_rate_limit(interval: float) -> None:
    if interval < SUSTAINED:
        complain(
            PROGRAM,
            f"--interval {interval:g}: a round takes {UPGRADES} upgrade attempts, and a relay with"
            f" its default limit grants one every {Limits().upgrade_refill:g} s; it will answer"
            f" with HTTP 429 unless its --upgrade-refill is shorter. --interval {SUSTAINED:g} can"
            " go on for ever",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How results are reported, besides the exit code.

    Attributes:
        as_json: whether JSON is printed instead of text.
        metrics_file: where Prometheus metrics are written after each round, if anywhere.
        warn_days: warn of a certificate that expires within this number of days; ``None``: never.
    """

    as_json: bool = False
    metrics_file: Path | None = None
    warn_days: float | None = None

    def write_metrics_file(self, outcome: Round) -> bool:
        """Write the metrics file, if one is wanted; returns ``False`` if that failed."""
        if self.metrics_file is None:
            return True
        try:
            write_metrics(outcome, self.metrics_file)
        except OSError as error:
            complain(PROGRAM, f"{self.metrics_file}: {error.strerror}")
            return False
        return True

    def warns_of(self, outcome: Round) -> bool:
        """Whether the certificate expires too soon; if so, says so on stderr."""
        days = outcome.certificate_days
        if self.warn_days is None or days is None or days >= self.warn_days:
            return False
        complain(
            PROGRAM,
            f"the certificate of {outcome.target} expires in {days:.1f} days, within the"
            f" {self.warn_days:g} of --warn-days: look at its renewal",
        )
        return True


_TEXT_ONLY: Final = Output()


async def probe(endpoint: Endpoint, seconds: float, output: Output = _TEXT_ONLY) -> int:
    """Check a relay once and print the results; returns the exit code.

    It is that of the results, also if they cannot be printed.

    Args:
        endpoint: where the relay listens.
        seconds: how long all steps together may take.
        output: how the results are reported.
    """

    def report(result: Result) -> None:
        if not output.as_json:
            _tell(render(result))

    outcome = await run_round(endpoint, seconds, report)
    written = output.write_metrics_file(outcome)
    if output.as_json:
        _tell(as_json(outcome))
    elif outcome.failure is None:
        _tell(_summary(endpoint, outcome))
    expires_soon = output.warns_of(outcome)
    if outcome.failure is not None or not written:
        return EXIT_FAILED
    return EXIT_EXPIRES_SOON if expires_soon else EXIT_PASSED


async def keep_probing(endpoint: Endpoint, seconds: float, interval: float, output: Output) -> int:
    """Check a relay repeatedly until SIGINT or SIGTERM; returns the exit code.

    A round that is under way at the signal is cancelled, and its connections are aborted.

    Args:
        endpoint: where the relay listens.
        seconds: how long all steps of a round together may take.
        interval: the seconds from the start of a round to the start of the next. After a round that
            takes longer, the next one starts at once.
        output: how the results are reported.
    """
    loop = asyncio.get_running_loop()

    async def rounds() -> int:
        while True:
            due = loop.time() + interval
            outcome = await run_round(endpoint, seconds)
            output.write_metrics_file(outcome)
            output.warns_of(outcome)
            if not _tell(as_json(outcome) if output.as_json else as_line(outcome)):
                return EXIT_FAILED
            await asyncio.sleep(due - loop.time())

    task = asyncio.create_task(rounds())
    for stop_signal in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(stop_signal, task.cancel)
    await asyncio.wait({task})
    return EXIT_PASSED if task.cancelled() else await task


def _tell(line: str) -> bool:
    return tell(PROGRAM, f"{line}\n")


def _summary(endpoint: Endpoint, outcome: Round) -> str:
    took = f"{endpoint} works: {len(outcome.results)} steps in {_milliseconds(outcome.seconds)}"
    if outcome.certificate_expires_at is None or outcome.certificate_days is None:
        return took
    expires_at = iso_time(outcome.certificate_expires_at)
    return f"{took}; its certificate expires in {outcome.certificate_days:.1f} days, {expires_at}"


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


def parse_endpoint(url: str, ca_file: str | None = None, connect_to: str | None = None) -> Endpoint:
    """The endpoint of a URL of the form ``ws://HOST``, ``wss://HOST``, or with ``:PORT``.

    Args:
        url: the URL.
        ca_file: a PEM file of the CA certificates to trust; ``None`` for the system's.
        connect_to: ``HOST:PORT`` to connect to instead.

    Raises:
        ConfigurationError: one of them has another form, or ``ca_file`` cannot be used.
    """
    parts = split_url(url, "ws", _EXAMPLES)
    if parts.target != "/":
        # The paths of the relay's endpoints are fixed, so a URL with a path must be a mistake.
        raise ConfigurationError("the URL has more than a scheme, a host and a port", _EXAMPLES)
    dial = None if connect_to is None else host_and_port("--connect-to", connect_to)
    return parts.endpoint("ws", ca_file, dial)
