"""Exposes numbers that the parts of a relay keep for their own use, read at each scrape.

So nothing is counted twice, and these families cost nothing in the frame path.
"""

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fastrelay import __version__
from fastrelay.config.metric_names import PREFIX
from fastrelay.metrics.process import ProcessMetrics
from fastrelay.policy.held_bytes import HeldBytes


class Refused(NamedTuple):
    """Refusals that are no outcome of an upgrade; the fields are the reasons, as they are exposed.

    Attributes:
        relay_full, reserve, address_full: answered with 503 because of a cap on live WebSockets:
            the relay-wide one, its last tenth, that of an address.
        pending_full: connections dropped because too many were not upgraded yet.
        plain_requests: answered with 429.
        tls_handshakes: dropped before the handshake.
    """

    relay_full: int
    reserve: int
    address_full: int
    pending_full: int
    plain_requests: int
    tls_handshakes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Functions that return the current numbers.

    Attributes:
        refused: what was refused, by reason.
        held: the budget of bytes kept for peers.
        takeovers: the incumbents that lost their server-id because they did not answer a ping.
        evictions: the phones closed because their binary was replaced.
        internal_errors: the exceptions that the relay did not expect.
        grace_expiries: the server-ids removed because no binary claimed them within the grace
            period.
        log_lines: the lines of log that were lost, and those that wait to be written.
        certificate_expiry: when the certificate expires, in seconds since the epoch; ``None``
            without TLS.
    """

    refused: Callable[[], Refused]
    held: HeldBytes
    takeovers: Callable[[], int]
    evictions: Callable[[], int]
    internal_errors: Callable[[], int]
    grace_expiries: Callable[[], int]
    log_lines: Callable[[], tuple[int, int]]
    certificate_expiry: Callable[[], float] | None


class StateMetrics(Collector):
    """Exposes a :class:`State`, and the families of the build and of the process."""

    def __init__(self, state: State, registry: CollectorRegistry) -> None:
        self._state = state
        registry.register(self)
        registry.register(ProcessMetrics())

    def collect(self) -> Iterable[Metric]:
        """The families with their current values."""
        state = self._state
        build = GaugeMetricFamily(f"{PREFIX}build_info", "Always 1.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        yield from _refusals(state.refused())
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
        yield from _held_bytes(state.held)
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


def _held_bytes(held: HeldBytes) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        f"{PREFIX}phone_backlog_bytes",
        "Unsent bytes held for all phones.",
        held.phone_backlogs.total,
    )
    by_kind = GaugeMetricFamily(
        f"{PREFIX}held_bytes", "Bytes kept in memory for peers, by kind.", labels=["kind"]
    )
    evicted = CounterMetricFamily(
        f"{PREFIX}held_bytes_evicted",
        "Connections closed because the budget of held bytes was used up.",
        labels=["kind"],
    )
    for ledger in held.ledgers:
        by_kind.add_metric([ledger.kind.value], ledger.total)
        evicted.add_metric([ledger.kind.value], ledger.evicted)
    yield by_kind
    yield evicted
    yield GaugeMetricFamily(f"{PREFIX}held_bytes_limit", "The budget of held bytes.", held.limit)


def _refusals(refused: Refused) -> Iterable[Metric]:
    """The family of all refusals, and the older one of those with 503 by the cap they met."""
    by_cap = CounterMetricFamily(
        f"{PREFIX}connections_refused", "Upgrade attempts refused with 503.", labels=["cap"]
    )
    by_cap.add_metric(["relay"], refused.relay_full + refused.reserve)
    by_cap.add_metric(["address"], refused.address_full)
    yield by_cap
    by_reason = CounterMetricFamily(
        f"{PREFIX}refusals", "Refusals that are no outcome of an upgrade.", labels=["reason"]
    )
    for reason, count in refused._asdict().items():
        by_reason.add_metric([reason], count)
    yield by_reason
