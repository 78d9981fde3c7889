"""Grace timers that really evicted a server-id."""

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter

from fastrelay.metrics.exposition import PREFIX


class GraceEvents(Protocol):
    """What is counted of the grace period."""

    def expired(self) -> None:
        """A server-id and its phones were removed because the binary did not come back."""


class NoGraceMetrics:
    """:class:`GraceEvents` for a relay without metrics."""

    def expired(self) -> None: ...


class GraceMetrics:
    """:class:`GraceEvents` as a Prometheus counter."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._expiries = Counter(
            f"{PREFIX}grace_expiries",
            "Grace timers that evicted a server-id.",
            registry=registry,
        )

    def expired(self) -> None:
        self._expiries.inc()
