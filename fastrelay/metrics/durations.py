"""How long things take: a frame's way through the relay, an upgrade, a timer's delay.

All three are histograms of plain numbers. The way of a frame is timed for one read in many, so
that the others pay one comparison of two integers for it (``bench/micro/test_counters.py``).
"""

import time
from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from fastrelay.metrics.exposition import PREFIX
from fastrelay.policy.counters.histogram import Histogram

_TRANSIT_BOUNDS: Final = (
    *(0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01),
    *(0.05, 0.1, 0.5, 1.0, 10.0),
)
"""From what a frame takes that meets nobody to the write interval: nothing waits for longer."""

_UPGRADE_BOUNDS: Final = (
    *(0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""To the time a request head has: no upgrade takes longer."""

_LAG_BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)


class Stopwatch:
    """The time of one sampled read; :meth:`stop` when the last of its bytes has left."""

    __slots__ = ("_histogram", "_started")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Count the time since this was made."""
        self._histogram.observe(time.perf_counter() - self._started)


class Durations:
    """The histograms of one relay.

    Attributes:
        phone_to_binary, binary_to_phone: of sampled reads, the time from having been read and
            decoded until the kernel has all that came of them.
        server, client: of all requests on the endpoint, the time from the accept until the status
            line.
        lag: how late timers ran.
    """

    def __init__(self) -> None:
        self.phone_to_binary = Histogram(_TRANSIT_BOUNDS)
        self.binary_to_phone = Histogram(_TRANSIT_BOUNDS)
        self.server = Histogram(_UPGRADE_BOUNDS)
        self.client = Histogram(_UPGRADE_BOUNDS)
        self.lag = Histogram(_LAG_BOUNDS)


class DurationMetrics(Collector):
    """Exposes a :class:`Durations` as three families; all cells exist from the first scrape."""

    def __init__(self, durations: Durations, registry: CollectorRegistry) -> None:
        self._durations = durations
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The families as they stand now."""
        durations = self._durations
        transit = HistogramMetricFamily(
            f"{PREFIX}frame_transit_seconds",
            "From reading a frame until the kernel has it for the other side, sampled.",
            labels=["direction"],
        )
        durations.phone_to_binary.add_to(transit, "phone_to_binary")
        durations.binary_to_phone.add_to(transit, "binary_to_phone")
        yield transit
        upgrade = HistogramMetricFamily(
            f"{PREFIX}upgrade_duration_seconds",
            "From accepting a connection until the status line that answers its upgrade.",
            labels=["endpoint"],
        )
        durations.server.add_to(upgrade, "server")
        durations.client.add_to(upgrade, "client")
        yield upgrade
        lag = HistogramMetricFamily(
            f"{PREFIX}event_loop_lag_seconds",
            "How late the relay's timers ran, four times a second.",
            labels=[],
        )
        durations.lag.add_to(lag)
        yield lag
