"""Exposes the histograms of durations."""

from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from fastrelay.config.metric_names import PREFIX
from fastrelay.policy.counters.durations import Durations
from fastrelay.policy.counters.histogram import Histogram


class DurationMetrics(Collector):
    """Exposes a :class:`Durations` as three families; all series exist from the first scrape."""

    def __init__(self, durations: Durations, registry: CollectorRegistry) -> None:
        self._durations = durations
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The families with their current values."""
        durations = self._durations
        transit = HistogramMetricFamily(
            f"{PREFIX}frame_transit_seconds",
            "From reading a frame until the kernel has it for the other side, sampled.",
            labels=["direction"],
        )
        _add(durations.phone_to_binary, transit, "phone_to_binary")
        _add(durations.binary_to_phone, transit, "binary_to_phone")
        yield transit
        upgrade = HistogramMetricFamily(
            f"{PREFIX}upgrade_duration_seconds",
            "From accepting a connection until the status line that answers its upgrade.",
            labels=["endpoint"],
        )
        _add(durations.server, upgrade, "server")
        _add(durations.client, upgrade, "client")
        yield upgrade
        lag = HistogramMetricFamily(
            f"{PREFIX}event_loop_lag_seconds",
            "How late the relay's timers ran, four times a second.",
            labels=[],
        )
        _add(durations.lag, lag)
        yield lag


def _add(histogram: Histogram, family: HistogramMetricFamily, *labels: str) -> None:
    """Add the samples of ``histogram`` to ``family``, with these label values."""
    names = [*map(str, histogram.bounds), "+Inf"]
    buckets = list(zip(names, accumulate(histogram.counts), strict=True))
    family.add_metric(labels, buckets, histogram.total)
