"""Gauges of the connected binaries and phones."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from fastrelay.config.metric_names import PREFIX


def expose_connections(
    registry: CollectorRegistry, binaries: Callable[[], int], phones: Callable[[], int]
) -> None:
    """Add the two gauges to ``registry``.

    Args:
        binaries: returns the number of server-ids that are held; those in grace do not count.
        phones: returns the number of registered phones; those of a server-id in grace count.
    """
    Gauge(
        f"{PREFIX}connected_binaries", "Binaries that hold a server-id now.", registry=registry
    ).set_function(binaries)
    Gauge(f"{PREFIX}connected_phones", "Phones registered now.", registry=registry).set_function(
        phones
    )
