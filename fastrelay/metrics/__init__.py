"""How what the relay counts is exposed to Prometheus, one module a family."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from fastrelay.metrics.closes import CloseMetrics
from fastrelay.metrics.durations import DurationMetrics
from fastrelay.metrics.exposition import ExactRegistry
from fastrelay.metrics.frames import FrameMetrics
from fastrelay.metrics.upgrades import UpgradeMetrics
from fastrelay.policy.counters import Counters


@dataclass(frozen=True, slots=True)
class Metrics:
    """The counters of one relay, and the registry they are exposed in.

    A relay that serves no metrics counts all the same: its registry is read by none.
    """

    registry: CollectorRegistry
    upgrades: UpgradeMetrics
    counters: Counters


def make_metrics() -> Metrics:
    """Counters in a private registry of their own."""
    registry, counters = ExactRegistry(auto_describe=True), Counters()
    FrameMetrics(counters.frames, registry)
    CloseMetrics(counters.closes, registry)
    DurationMetrics(counters.durations, registry)
    return Metrics(registry, UpgradeMetrics(registry), counters)
