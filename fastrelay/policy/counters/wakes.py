"""Counts the push wakes that binaries asked for, by outcome (protocol, push wake)."""

from enum import Enum

from fastrelay.policy.cells import PRIVATE, Cells, KeyedCells


class Outcome(Enum):
    """How a wake ends. Every wake has exactly one outcome."""

    SENT = "sent"
    UNREGISTERED = "unregistered"
    SEND_FAILED = "send_failed"
    TOKEN_FETCH_FAILED = "token_fetch_failed"  # noqa: S105
    DROPPED = "dropped"


class WakeCounts:
    """Counts wakes that have ended.

    Attributes:
        cells: the counts by outcome.
    """

    def __init__(self, cells: Cells = PRIVATE) -> None:
        self.cells = KeyedCells(Outcome, cells)

    def count(self, outcome: Outcome) -> None:
        """Count one wake."""
        self.cells.add(outcome)
