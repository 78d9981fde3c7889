"""Frames that went through, and frames that did not, by direction and reason.

These are counted per batch in the hot path, where one ``inc()`` of the library would cost more
than the routing of a frame. So the counts are plain integers, each with one owner, and the
family reads them when it is scraped.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from fastrelay.metrics.exposition import PREFIX


class DirectionCounts:
    """Data frames of one direction: each that came in is forwarded, dropped, or still queued.

    Attributes:
        received: came in whole, whatever became of them.
        forwarded: handed to the other side's socket.
        forwarded_bytes: what those came to on the wire, with headers, envelopes and notices.
        invalid: a phone's that is not JSON, a binary's that is no envelope.
        no_peer: nobody there: no binary, or an unknown ``conn_id``.
        backlog_full: dropped with the backlog of a phone that was too slow.
        closing: came or waited while one of the two connections ended.
        sample_at: how many must have been received for the next read to be timed.
    """

    __slots__ = (
        "backlog_full",
        "closing",
        "forwarded",
        "forwarded_bytes",
        "invalid",
        "no_peer",
        "received",
        "sample_at",
    )

    def __init__(self) -> None:
        self.received = 0
        self.forwarded = 0
        self.forwarded_bytes = 0
        self.invalid = 0
        self.no_peer = 0
        self.backlog_full = 0
        self.closing = 0
        self.sample_at = 0

    def sample(self) -> None:
        """The read that comes now is timed, the next only :data:`SAMPLE_EVERY` frames on."""
        self.sample_at = self.received + SAMPLE_EVERY


SAMPLE_EVERY: Final = 251
"""Frames between two that are timed: timing a read costs about 2 µs, so 0.01 µs a frame. A prime,
so as not to keep step with connections that take turns."""

_REASONS = ("invalid", "no_peer", "backlog_full", "closing")


class FrameCounts:
    """The relay's two directions."""

    def __init__(self) -> None:
        self.phone_to_binary = DirectionCounts()
        self.binary_to_phone = DirectionCounts()


class FrameMetrics(Collector):
    """Exposes a :class:`FrameCounts` as four families; all cells exist from the first scrape."""

    def __init__(self, counts: FrameCounts, registry: CollectorRegistry) -> None:
        self._directions = {
            "phone_to_binary": counts.phone_to_binary,
            "binary_to_phone": counts.binary_to_phone,
        }
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The families as they stand now."""
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
