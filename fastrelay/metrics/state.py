"""Exposes numbers that the parts of a relay keep for their own use, read at each scrape.

No number is therefore counted twice, and these families cost nothing on the path of a frame.
"""

import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fastrelay import __version__
from fastrelay.config.metric_names import PREFIX
from fastrelay.metrics.connections import expose_connections
from fastrelay.metrics.process import ProcessMetrics
from fastrelay.metrics.push import PushMetrics
from fastrelay.policy.counters import Counters
from fastrelay.policy.counters.tallies import Connected, Tallies
from fastrelay.policy.held_bytes import Kind

_REFUSALS: Final = (
    "relay_full",
    "reserve",
    "address_full",
    "owner_away",
    "pending_full",
    "plain_requests",
    "tls_handshakes",
)
"""Reasons of refusals that are no outcome of an upgrade, as they are exposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The current numbers, or functions that return them.

    Attributes:
        counters: what has been counted.
        connected: the binaries and phones that are connected now.
        held: the bytes kept for peers, in the order of :class:`Kind`.
        held_limit: their budget.
        log_lines: the lines of log that were lost, and those that wait to be written.
        certificate_expiry: when the certificate expires, in seconds since the epoch; ``None``
            without TLS.
    """

    counters: Counters
    connected: Connected
    held: Callable[[], Sequence[int]]
    held_limit: int
    log_lines: Callable[[], tuple[int, int]]
    certificate_expiry: Callable[[], float] | None

    @property
    def tallies(self) -> Tallies:
        """Events that are counted one by one."""
        return self.counters.tallies


def expose_state(
    state: State, process: ProcessMetrics, registry: CollectorRegistry, *, has_push: bool
) -> None:
    """Add the state of a relay to a registry that has its counters already."""
    StateMetrics(state, process, registry)
    if has_push:
        PushMetrics(state.counters.wakes, registry)
    connected = state.connected
    expose_connections(registry, lambda: connected.binaries, lambda: connected.phones)


class StateMetrics(Collector):
    """Exposes a :class:`State`, and the families of the build and of the process."""

    def __init__(self, state: State, process: Collector, registry: CollectorRegistry) -> None:
        self._state = state
        registry.register(self)
        registry.register(process)

    def collect(self) -> Iterable[Metric]:
        """The families with their current values."""
        state, tallies = self._state, self._state.tallies
        build = GaugeMetricFamily(f"{PREFIX}build_info", "Always 1.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        yield from _refusals(tallies)
        yield CounterMetricFamily(
            f"{PREFIX}takeovers", "Silent incumbents that lost their server-id.", tallies.takeovers
        )
        yield CounterMetricFamily(
            f"{PREFIX}phones_evicted",
            "Phones closed because their binary was replaced.",
            tallies.evictions,
        )
        yield CounterMetricFamily(
            f"{PREFIX}loop_stalls",
            "How often the process did not run for a second.",
            tallies.stalls,
        )
        yield CounterMetricFamily(
            f"{PREFIX}loop_stall_seconds",
            "How long it did not run then.",
            tallies.stall_milliseconds / 1000,
        )
        yield CounterMetricFamily(
            f"{PREFIX}internal_errors",
            "Exceptions in the relay itself; each ends at most one connection.",
            tallies.internal_errors,
        )
        yield CounterMetricFamily(
            f"{PREFIX}grace_expiries",
            "Grace timers that evicted a server-id.",
            tallies.grace_expiries,
        )
        yield from _held_bytes(state)
        yield from _log_lines(*state.log_lines())
        if state.certificate_expiry is not None:
            yield GaugeMetricFamily(
                f"{PREFIX}certificate_expiry_timestamp_seconds",
                "When the certificate in use expires; 0 while there is none.",
                state.certificate_expiry(),
            )


def _log_lines(lost: int, queued: int) -> Iterable[Metric]:
    yield CounterMetricFamily(
        f"{PREFIX}log_lines_lost", "Lines of log that could not be written.", lost
    )
    yield GaugeMetricFamily(
        f"{PREFIX}log_lines_queued", "Lines of log that wait to be written.", queued
    )


def _held_bytes(state: State) -> Iterable[Metric]:
    held = dict(zip(Kind, state.held(), strict=True))
    yield GaugeMetricFamily(
        f"{PREFIX}phone_backlog_bytes",
        "Unsent bytes held for all phones.",
        held[Kind.PHONE_BACKLOGS],
    )
    by_kind = GaugeMetricFamily(
        f"{PREFIX}held_bytes", "Bytes kept in memory for peers, by kind.", labels=["kind"]
    )
    evicted = CounterMetricFamily(
        f"{PREFIX}held_bytes_evicted",
        "Connections closed because the budget of held bytes was used up.",
        labels=["kind"],
    )
    for (kind, total), count in zip(held.items(), state.counters.held_evicted, strict=True):
        by_kind.add_metric([kind.value], total)
        evicted.add_metric([kind.value], count)
    yield by_kind
    yield evicted
    yield GaugeMetricFamily(
        f"{PREFIX}held_bytes_limit", "The budget of held bytes.", state.held_limit
    )


def _refusals(tallies: Tallies) -> Iterable[Metric]:
    """The family of all refusals, and the older one of those with 503 by the cap they met."""
    by_cap = CounterMetricFamily(
        f"{PREFIX}connections_refused", "Upgrade attempts refused with 503.", labels=["cap"]
    )
    by_cap.add_metric(["relay"], tallies.relay_full + tallies.reserve)
    by_cap.add_metric(["address"], tallies.address_full)
    yield by_cap
    by_reason = CounterMetricFamily(
        f"{PREFIX}refusals", "Refusals that are no outcome of an upgrade.", labels=["reason"]
    )
    for reason in _REFUSALS:
        by_reason.add_metric([reason], getattr(tallies, reason))
    yield by_reason
