"""What all connections of one relay share."""

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from fastrelay.config.settings import Intervals
from fastrelay.loop.fair_reads import Rooms
from fastrelay.loop.timer_wheel import TimerWheel

ConnectionT = TypeVar("ConnectionT", contravariant=True)


class Live(Protocol[ConnectionT]):
    """Told when a connection's socket is gone."""

    def discard(self, connection: ConnectionT, /) -> None:
        """The connection no longer counts."""


class SentCounter(Protocol):
    """Counts what is handed to a socket; one for all connections of a direction."""

    forwarded: int
    forwarded_bytes: int


@dataclass(frozen=True, slots=True)
class Conditions(Generic[ConnectionT]):
    """The clock, the limits and the buffer of one relay's connections."""

    wheel: TimerWheel
    intervals: Intervals
    max_message: int
    live: Live[ConnectionT]
    rooms: Rooms = field(default_factory=Rooms)
