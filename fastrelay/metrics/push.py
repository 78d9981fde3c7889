"""Exposes the counts of push wakes by outcome; only a relay with push has this family."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from fastrelay.config.metric_names import PREFIX
from fastrelay.policy.counters.wakes import WakeCounts


class PushMetrics(Collector):
    """Exposes a :class:`WakeCounts` as one family; all series exist from the first scrape."""

    def __init__(self, counts: WakeCounts, registry: CollectorRegistry) -> None:
        self._counts = counts
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The family with its current values."""
        wakes = CounterMetricFamily(
            f"{PREFIX}push_wakes", "Push wakes binaries asked for, by outcome.", labels=["outcome"]
        )
        for outcome, count in self._counts.cells.items():
            wakes.add_metric([outcome.value], count)
        yield wakes
