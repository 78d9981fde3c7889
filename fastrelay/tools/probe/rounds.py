"""Runs all steps once, and reports the result as a line, as JSON or as Prometheus metrics."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from fastrelay.tools.probe.checks import Failure, Result, check
from fastrelay.tools.support.endpoint import Endpoint

PREFIX = "fastrelay_probe_"
"""The prefix of the probe's own metric families."""

_SECONDS_OF_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Round:
    """The result of one run of all steps.

    Attributes:
        target: the URL of the relay.
        started_at: seconds since the epoch.
        results: those of the steps that were run, in order. Only the last one may have failed.
        certificate_expires_at: seconds since the epoch; ``None`` if no certificate was seen.
    """

    target: str
    started_at: float
    results: tuple[Result, ...]
    certificate_expires_at: float | None = None

    @property
    def certificate_days(self) -> float | None:
        """For how many days the certificate is valid after the beginning of the round."""
        if self.certificate_expires_at is None:
            return None
        return (self.certificate_expires_at - self.started_at) / _SECONDS_OF_A_DAY

    @property
    def failure(self) -> Failure | None:
        """Why the round failed; ``None`` if all steps passed."""
        return self.results[-1].failure

    @property
    def seconds(self) -> float:
        """The sum of the times of all steps."""
        return sum(result.seconds for result in self.results)

    def measured(self) -> dict[str, float]:
        """The other times that the steps measured, in seconds, by name."""
        return {name: value for result in self.results for name, value in result.measured.items()}


async def run_round(
    endpoint: Endpoint, seconds: float, report: Callable[[Result], None] = lambda result: None
) -> Round:
    """Run all steps until one fails.

    Args:
        endpoint: where the relay listens.
        seconds: how long all steps together may take.
        report: called with the result of each step when it is over.
    """
    started_at, results = time.time(), list[Result]()

    def collect(result: Result) -> None:
        results.append(result)
        report(result)

    expires_at = await check(endpoint, seconds, collect)
    return Round(str(endpoint), started_at, tuple(results), expires_at)


def as_line(outcome: Round) -> str:
    """The result of a round as one line for people."""
    started_at = iso_time(outcome.started_at)
    if (failure := outcome.failure) is not None:
        hint = f"; {failure.hint}" if failure.hint else ""
        step = outcome.results[-1].step
        return f"{started_at} FAIL {step}: expected {failure.expected}; got {failure.got}{hint}"
    times = (f"{name} {value * 1000:.1f} ms" for name, value in outcome.measured().items())
    days = outcome.certificate_days
    certificate = "" if days is None else f", certificate valid for {days:.1f} days"
    spent = f"{outcome.seconds * 1000:.1f} ms, there and back {', '.join(times)}"
    return f"{started_at} ok   {spent}{certificate}"


def as_json(outcome: Round) -> str:
    """The result of a round as a JSON object in one line; times are in seconds."""
    steps: list[dict[str, Any]] = [
        {
            "step": result.step,
            "ok": result.failure is None,
            "seconds": round(result.seconds, 6),
            "measured": {name: round(value, 6) for name, value in result.measured.items()},
        }
        for result in outcome.results
    ]
    failure = outcome.failure
    failed = None if failure is None else {"step": outcome.results[-1].step, **asdict(failure)}
    expires_at = outcome.certificate_expires_at
    return json.dumps(
        {
            "time": iso_time(outcome.started_at),
            "target": outcome.target,
            "ok": failure is None,
            "seconds": round(outcome.seconds, 6),
            "certificate_expires": None if expires_at is None else iso_time(expires_at),
            "steps": steps,
            "fault": failed,
        }
    )


def write_metrics(outcome: Round, file: Path) -> None:
    """Write the result of a round to ``file`` atomically, for node_exporter's textfile collector.

    A step that was not reached has no sample, because its time is unknown.

    Raises:
        OSError: the file cannot be written; its old content is unchanged.
    """
    registry = CollectorRegistry()

    def gauge(name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}{name}", what, ["target", *labels], registry=registry)

    target = outcome.target
    gauge("success", "Whether all steps passed.").labels(target).set(outcome.failure is None)
    gauge("last_run_timestamp_seconds", "When it began.").labels(target).set(outcome.started_at)
    gauge("duration_seconds", "How long all steps took.").labels(target).set(outcome.seconds)
    step_seconds = gauge("step_seconds", "How long a step took.", "step")
    step_success = gauge("step_success", "Whether a step passed.", "step")
    for result in outcome.results:
        step_seconds.labels(target, result.step).set(result.seconds)
        step_success.labels(target, result.step).set(result.failure is None)
    round_trip = gauge("round_trip_seconds", "Small frames there and back.", "of")
    for name, value in outcome.measured().items():
        round_trip.labels(target, name).set(value)
    if outcome.certificate_expires_at is not None:
        expiry = gauge("certificate_expiry_timestamp_seconds", "When the certificate expires.")
        expiry.labels(target).set(outcome.certificate_expires_at)
    write_to_textfile(str(file), registry)


def iso_time(moment: float) -> str:
    """A time as ISO 8601 in UTC; ``moment`` is in seconds since the epoch."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
