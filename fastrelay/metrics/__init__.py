"""Exposes the relay's counters to Prometheus, with one module for each group of families."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from fastrelay.metrics.closes import CloseMetrics
from fastrelay.metrics.durations import DurationMetrics
from fastrelay.metrics.exposition import ExactRegistry
from fastrelay.metrics.frames import FrameMetrics
from fastrelay.metrics.refused import RefusedMetrics
from fastrelay.metrics.upgrades import UpgradeMetrics
from fastrelay.policy.counters import Counters, Gauges


@dataclass(frozen=True, slots=True)
class Metrics:
    """The counters of one relay, and the Prometheus registry that exposes them.

    A relay without a metrics listener counts as well; its registry is never read.

    Attributes:
        registry: private to the relay.
        upgrades: the upgrade attempts and failed registrations, as counters of the library.
        counters: everything else, as plain numbers.
        gauges: what there is now.
    """

    registry: CollectorRegistry
    upgrades: UpgradeMetrics
    counters: Counters
    gauges: Gauges


def make_metrics() -> Metrics:
    """New counters at 0, exposed in a new private registry."""
    registry, counters = ExactRegistry(auto_describe=True), Counters()
    expose_counters(counters, registry)
    return Metrics(registry, UpgradeMetrics(registry), counters, Gauges())


def expose_counters(counters: Counters, registry: CollectorRegistry) -> None:
    """Add the families that every relay has to ``registry``, but for those of its state."""
    RefusedMetrics(counters.refused, registry)
    FrameMetrics(counters.frames, registry)
    CloseMetrics(counters.closes, registry)
    DurationMetrics(counters.durations, registry)
