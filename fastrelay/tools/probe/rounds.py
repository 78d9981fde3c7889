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
from fastrelay.tools.probe.client import Endpoint

PREFIX = "fastrelay_probe_"
"""The prefix of the probe's own metric families."""


@dataclass(frozen=True, slots=True)
class Round:
    """The result of one run of all steps.

    Attributes:
        target: the URL of the relay.
        started_at: seconds since the epoch.
        results: those of the steps that were run, in order. Only the last one may have failed.
    """

    target: str
    started_at: float
    results: tuple[Result, ...]

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
    endpoint: Endpoint, step_timeout: float, report: Callable[[Result], None] = lambda result: None
) -> Round:
    """Run all steps until one fails.

    Args:
        endpoint: where the relay listens.
        step_timeout: the seconds that one step may take.
        report: called with the result of each step when it is over.
    """
    started_at, results = time.time(), list[Result]()

    def collect(result: Result) -> None:
        results.append(result)
        report(result)

    await check(endpoint, step_timeout, collect)
    return Round(str(endpoint), started_at, tuple(results))


def as_line(outcome: Round) -> str:
    """The result of a round as one line for people."""
    started_at = _iso_time(outcome)
    if (failure := outcome.failure) is not None:
        hint = f"; {failure.hint}" if failure.hint else ""
        step = outcome.results[-1].step
        return f"{started_at} FAIL {step}: expected {failure.expected}; got {failure.got}{hint}"
    times = (f"{name} {value * 1000:.1f} ms" for name, value in outcome.measured().items())
    return f"{started_at} ok   {outcome.seconds * 1000:.1f} ms, there and back {', '.join(times)}"


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
    return json.dumps(
        {
            "time": _iso_time(outcome),
            "target": outcome.target,
            "ok": failure is None,
            "seconds": round(outcome.seconds, 6),
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
    write_to_textfile(str(file), registry)


def _iso_time(outcome: Round) -> str:
    return datetime.fromtimestamp(outcome.started_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
