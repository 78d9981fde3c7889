"""Exposes the counts of what was refused before an upgrade attempt, by reason."""

from collections.abc import Iterable, Sequence

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
        yield _family(
            "headers_rejected",
            "Attempts refused with 400, by the first required header that was missing or bad.",
            ("endpoint", "header"),
            self._counts.headers.items(),
        )
        yield _family(
            "proxy_headers_refused",
            "Connections dropped because their PROXY header was missing, bad or not believed.",
            ("reason",),
            (((fault.value,), count) for fault, count in self._counts.proxy_headers.items()),
        )
        yield _family(
            "tls_handshakes_failed",
            "TLS handshakes that were begun and not completed.",
            ("reason",),
            (((fault.value,), count) for fault, count in self._counts.handshakes.items()),
        )


def _family(
    name: str,
    documentation: str,
    labels: Sequence[str],
    counts: Iterable[tuple[Sequence[str], int]],
) -> CounterMetricFamily:
    """A family of counters; ``counts`` has the label values of each series and its count."""
    family = CounterMetricFamily(f"{PREFIX}{name}", documentation, labels=labels)
    for values, count in counts:
        family.add_metric(values, count)
    return family
