"""What the parts of a relay know of themselves, read when somebody scrapes.

Each part keeps plain numbers where it has them anyway; here they get names. So nothing is counted
twice, and nothing costs a call in the frame path.
"""

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fastrelay import __version__
from fastrelay.config.metric_names import PREFIX
from fastrelay.metrics.process import ProcessMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where the numbers are.

    Attributes:
        refused: upgrade attempts refused by the relay-wide cap, and by that per address.
        backlog: bytes held for all phones.
        takeovers: incumbents that lost their server-id because they were silent.
        evictions: phones closed because their binary was replaced.
        internal_errors: exceptions that no part of the relay expected.
        grace_expiries: server-ids evicted because their binary did not come back.
        certificate_expiry: seconds since the epoch; ``None`` without TLS.
    """

    refused: Callable[[], tuple[int, int]]
    backlog: Callable[[], int]
    takeovers: Callable[[], int]
    evictions: Callable[[], int]
    internal_errors: Callable[[], int]
    grace_expiries: Callable[[], int]
    certificate_expiry: Callable[[], float] | None


class StateMetrics(Collector):
    """Exposes a :class:`State`, the build, and the process."""

    def __init__(self, state: State, registry: CollectorRegistry) -> None:
        self._state = state
        registry.register(self)
        registry.register(ProcessMetrics())

    def collect(self) -> Iterable[Metric]:
        """The families as they stand now."""
        state = self._state
        build = GaugeMetricFamily(f"{PREFIX}build_info", "Always 1.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        refused = CounterMetricFamily(
            f"{PREFIX}connections_refused", "Upgrade attempts refused with 503.", labels=["cap"]
        )
        for cap, count in zip(("relay", "address"), state.refused(), strict=True):
            refused.add_metric([cap], count)
        yield refused
        yield CounterMetricFamily(
            f"{PREFIX}takeovers", "Silent incumbents that lost their server-id.", state.takeovers()
        )
        yield CounterMetricFamily(
            f"{PREFIX}phones_evicted",
            "Phones closed because their binary was replaced.",
            state.evictions(),
        )
        yield CounterMetricFamily(
            f"{PREFIX}internal_errors",
            "Exceptions in the relay itself; each ends at most one connection.",
            state.internal_errors(),
        )
        yield CounterMetricFamily(
            f"{PREFIX}grace_expiries",
            "Grace timers that evicted a server-id.",
            state.grace_expiries(),
        )
        yield GaugeMetricFamily(
            f"{PREFIX}phone_backlog_bytes", "Unsent bytes held for all phones.", state.backlog()
        )
        if state.certificate_expiry is not None:
            yield GaugeMetricFamily(
                f"{PREFIX}certificate_expiry_timestamp_seconds",
                "When the certificate in use expires; 0 while there is none.",
                state.certificate_expiry(),
            )
