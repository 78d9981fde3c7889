"""What all connections of one relay share."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fastrelay.config.settings import Intervals
from fastrelay.loop.fair_reads import Rooms
from fastrelay.loop.timer_wheel import TimerWheel

if TYPE_CHECKING:
    from fastrelay.websocket.connection import Connection


class Live(Protocol):
    """Told when a connection's socket is gone."""

    def discard(self, connection: "Connection") -> None:
        """The connection no longer counts."""


class SentCounter(Protocol):
    """Counts what is handed to a socket; one for all connections of a direction."""

    forwarded: int
    forwarded_bytes: int


@dataclass(frozen=True, slots=True)
class Conditions:
    """The clock, the limits and the buffer of one relay's connections."""

    wheel: TimerWheel
    intervals: Intervals
    max_message: int
    live: Live
    rooms: Rooms = field(default_factory=Rooms)
