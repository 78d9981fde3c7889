"""The metrics of a relay that is one process."""

from collections.abc import Callable

from fastrelay.http.connection import Route
from fastrelay.log import LineCounts
from fastrelay.metrics import Metrics
from fastrelay.metrics.process import ProcessMetrics
from fastrelay.metrics.state import State, expose_state
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
        counters=metrics.counters,
        connected=metrics.gauges.connected,
        held=held.totals,
        held_limit=held.limit,
        log_lines=log_lines,
        certificate_expiry=certificate_expiry,
    )
    expose_state(state, ProcessMetrics(), metrics.registry, has_push=has_push)
    return {"/metrics": metrics_page(metrics.registry)}
