"""Who is connected: gauges read from the registry when scraped."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from fastrelay.config.metric_names import PREFIX


def expose_connections(
    registry: CollectorRegistry, binaries: Callable[[], int], phones: Callable[[], int]
) -> None:
    """Add the two gauges. A binary in grace is not connected; its phones are."""
    Gauge(
        f"{PREFIX}connected_binaries", "Binaries that hold a server-id now.", registry=registry
    ).set_function(binaries)
    Gauge(f"{PREFIX}connected_phones", "Phones registered now.", registry=registry).set_function(
        phones
    )
