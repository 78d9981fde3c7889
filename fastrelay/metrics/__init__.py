"""What the relay counts, one module a family, and how it is exposed."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from fastrelay.metrics.closes import CloseMetrics, Closes
from fastrelay.metrics.durations import DurationMetrics, Durations
from fastrelay.metrics.exposition import ExactRegistry
from fastrelay.metrics.frames import FrameCounts, FrameMetrics
from fastrelay.metrics.grace import GraceEvents, GraceMetrics, NoGraceMetrics
from fastrelay.metrics.upgrades import NoUpgradeMetrics, UpgradeEvents, UpgradeMetrics


@dataclass(frozen=True, slots=True)
class Metrics:
    """The counters of one relay, and the registry they are exposed in.

    Everything in here may be called whether or not anybody counts.
    """

    registry: CollectorRegistry
    upgrades: UpgradeEvents
    grace: GraceEvents
    frames: FrameCounts
    closes: Closes
    durations: Durations


def make_metrics() -> Metrics:
    """Counters in a private registry of their own."""
    registry = ExactRegistry(auto_describe=True)
    upgrades, grace = UpgradeMetrics(registry), GraceMetrics(registry)
    frames, closes, durations = FrameCounts(), Closes(), Durations()
    FrameMetrics(frames, registry)
    CloseMetrics(closes, registry)
    DurationMetrics(durations, registry)
    return Metrics(registry, upgrades, grace, frames, closes, durations)


def no_metrics() -> Metrics:
    """The same, with nothing counted that could be exposed."""
    upgrades, grace = NoUpgradeMetrics(), NoGraceMetrics()
    return Metrics(ExactRegistry(), upgrades, grace, FrameCounts(), Closes(), Durations())
