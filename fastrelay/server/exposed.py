"""What a relay that is one process shows at ``/metrics``."""

from collections.abc import Callable

from fastrelay.http.connection import Route
from fastrelay.log import LineCounts
from fastrelay.metrics import Metrics
from fastrelay.metrics.connections import expose_connections
from fastrelay.metrics.process import ProcessMetrics
from fastrelay.metrics.push import PushMetrics
from fastrelay.metrics.state import State, StateMetrics
from fastrelay.policy.held_bytes import HeldBytes
from fastrelay.server.metrics_page import metrics_page


def expose(
    metrics: Metrics,
    held: HeldBytes,
    log_lines: Callable[[], LineCounts],
    certificate_expiry: Callable[[], float] | None,
    *,
    has_push: bool,
) -> dict[str, Route]:
    """Add the state of a relay to its metrics; returns the routes of the metrics listener."""
    state = State(
        tallies=metrics.counters.tallies,
        held=held.totals,
        held_limit=held.limit,
        held_evicted=metrics.counters.held_evicted,
        log_lines=log_lines,
        certificate_expiry=certificate_expiry,
    )
    StateMetrics(state, ProcessMetrics(), metrics.registry)
    if has_push:
        PushMetrics(metrics.counters.wakes, metrics.registry)
    connected = metrics.gauges.connected
    expose_connections(metrics.registry, lambda: connected.binaries, lambda: connected.phones)
    return {"/metrics": metrics_page(metrics.registry)}
