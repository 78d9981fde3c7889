"""Exposes what was refused before there was an upgrade to decide about, by what was wrong."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from fastrelay.config.metric_names import PREFIX
from fastrelay.policy.counters.refused import RefusedCounts


class RefusedMetrics(Collector):
    """Exposes a :class:`RefusedCounts`; all series exist from the first scrape."""

    def __init__(self, counts: RefusedCounts, registry: CollectorRegistry) -> None:
        self._counts = counts
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The families with their current values."""
        headers = CounterMetricFamily(
            f"{PREFIX}headers_rejected",
            "Attempts refused with 400, by the first required header that was missing or bad.",
            labels=["endpoint", "header"],
        )
        for key, count in self._counts.headers.items():
            headers.add_metric(key, count)
        yield headers
        proxy_headers = CounterMetricFamily(
            f"{PREFIX}proxy_headers_refused",
            "Connections dropped because their PROXY header was missing, bad or not believed.",
            labels=["reason"],
        )
        for fault, count in self._counts.proxy_headers.items():
            proxy_headers.add_metric([fault.value], count)
        yield proxy_headers
        handshakes = CounterMetricFamily(
            f"{PREFIX}tls_handshakes_failed",
            "TLS handshakes that were begun and not completed.",
            labels=["reason"],
        )
        for cause, count in self._counts.handshakes.items():
            handshakes.add_metric([cause.value], count)
        yield handshakes
