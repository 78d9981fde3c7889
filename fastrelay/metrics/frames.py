"""Exposes the counts of data frames by direction: received, forwarded, and dropped by reason."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from fastrelay.config.metric_names import PREFIX
from fastrelay.policy.counters.frames import FrameCounts

_REASONS = ("invalid", "no_peer", "backlog_full", "closing")


class FrameMetrics(Collector):
    """Exposes a :class:`FrameCounts` as four families; all series exist from the first scrape."""

    def __init__(self, counts: FrameCounts, registry: CollectorRegistry) -> None:
        self._directions = {
            "phone_to_binary": counts.phone_to_binary,
            "binary_to_phone": counts.binary_to_phone,
        }
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The families with their current values."""
        received = CounterMetricFamily(
            f"{PREFIX}frames_received", "Data frames that came in.", labels=["direction"]
        )
        forwarded = CounterMetricFamily(
            f"{PREFIX}frames_forwarded",
            "Data frames handed to the other side's socket.",
            labels=["direction"],
        )
        sent = CounterMetricFamily(
            f"{PREFIX}forwarded_bytes",
            "Bytes handed to the other side's socket: frames with headers, envelopes, notices.",
            labels=["direction"],
        )
        dropped = CounterMetricFamily(
            f"{PREFIX}frames_dropped",
            "Data frames that were not forwarded, by reason.",
            labels=["direction", "reason"],
        )
        for name, counts in self._directions.items():
            received.add_metric([name], counts.received)
            forwarded.add_metric([name], counts.forwarded)
            sent.add_metric([name], counts.forwarded_bytes)
            for reason in _REASONS:
                dropped.add_metric([name, reason], getattr(counts, reason))
        yield received
        yield forwarded
        yield sent
        yield dropped
