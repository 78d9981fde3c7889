"""What the relay counts, one module a family, and how it is exposed."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

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


def make_metrics() -> Metrics:
    """Counters in a private registry of their own."""
    registry = ExactRegistry(auto_describe=True)
    frames = FrameCounts()
    FrameMetrics(frames, registry)
    return Metrics(registry, UpgradeMetrics(registry), GraceMetrics(registry), frames)


def no_metrics() -> Metrics:
    """The same, with nothing counted that could be exposed."""
    return Metrics(ExactRegistry(), NoUpgradeMetrics(), NoGraceMetrics(), FrameCounts())
