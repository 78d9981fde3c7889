"""What became of every wake a binary asked for."""

from enum import Enum


class Outcome(Enum):
    """How a wake ends, each in one way."""

    SENT = "sent"
    UNREGISTERED = "unregistered"
    SEND_FAILED = "send_failed"
    TOKEN_FETCH_FAILED = "token_fetch_failed"  # noqa: S105
    DROPPED = "dropped"


class WakeCounts:
    """Wakes that have ended.

    Attributes:
        cells: how many, by outcome.
    """

    def __init__(self) -> None:
        self.cells = dict.fromkeys(Outcome, 0)

    def count(self, outcome: Outcome) -> None:
        """A wake has ended."""
        self.cells[outcome] += 1
