"""Exposes the counts of ended connections by side, cause and class of close code."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from fastrelay.config.metric_names import PREFIX
from fastrelay.policy.counters.closes import Closes


class CloseMetrics(Collector):
    """Exposes a :class:`Closes` as one family; all series exist from the first scrape."""

    def __init__(self, closes: Closes, registry: CollectorRegistry) -> None:
        self._sides = {"binary": closes.binaries, "phone": closes.phones}
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The family with its current values."""
        closed = CounterMetricFamily(
            f"{PREFIX}connections_closed",
            "WebSockets that ended, by what ended them and the class of the close code.",
            labels=["side", "cause", "code"],
        )
        for side, counts in self._sides.items():
            for (cause, code), count in counts.cells.items():
                closed.add_metric([side, cause.value, code], count)
        yield closed
