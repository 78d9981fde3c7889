"""What became of every wake a binary asked for; exposed only by a relay with push on."""

from enum import Enum

from prometheus_client import CollectorRegistry, Counter

from fastrelay.metrics.exposition import PREFIX


class Outcome(Enum):
    """How a wake ends, each in one way."""

    SENT = "sent"
    UNREGISTERED = "unregistered"
    SEND_FAILED = "send_failed"
    TOKEN_FETCH_FAILED = "token_fetch_failed"  # noqa: S105
    DROPPED = "dropped"


class PushMetrics:
    """One counter with five cells, all exposed at 0 from the first scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        wakes = Counter(
            f"{PREFIX}push_wakes",
            "Push wakes binaries asked for, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self._cells = {outcome: wakes.labels(outcome.value) for outcome in Outcome}

    def count(self, outcome: Outcome) -> None:
        """A wake has ended."""
        self._cells[outcome].inc()
