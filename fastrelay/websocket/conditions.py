"""What all connections of one relay share."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from fastrelay.settings import Intervals
from fastrelay.timers import TimerWheel

if TYPE_CHECKING:
    from fastrelay.websocket.connection import Connection

RECEIVE_BUFFER_BYTES: Final = 256 * 1024
"""One buffer a loop: a read takes a whole burst of frames, or a whole frame of the usual limit."""


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
    receive_buffer: memoryview = field(
        default_factory=lambda: memoryview(bytearray(RECEIVE_BUFFER_BYTES))
    )
