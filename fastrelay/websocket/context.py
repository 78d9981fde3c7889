"""What all connections of one relay share."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from fastrelay.config.settings import Intervals
from fastrelay.loop.fair_reads import FairScheduler
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.far_end import FarEnd
from fastrelay.policy.held_bytes import HeldBytes


class LiveSet(Protocol):
    """The set of connections that count against the caps."""

    def address_of(self, connection: Any, /) -> str:
        """The address that limits know the connection by."""

    def discard(self, connection: Any, /) -> None:
        """Stop counting a connection, because its socket is gone."""


class SentCounter(Protocol):
    """Counts the frames and bytes handed to sockets; all connections of a direction share one."""

    forwarded: int
    forwarded_bytes: int


class UselessFrames(NamedTuple):
    """How many useless frames a connection may send: ``burst`` at once, ``refill`` per second."""

    burst: int = 1000
    refill: float = 100.0


@dataclass(frozen=True, slots=True)
class ConnectionContext:
    """The clock, the limits and the scheduler of one relay's connections.

    Attributes:
        max_message: bytes that one assembled message may have.
        live: where a connection is counted until its socket is gone.
        held: the budget of bytes kept for all peers.
        far_ends: the peers, by transport, whose TCP connection another process has.
    """

    wheel: TimerWheel
    intervals: Intervals
    max_message: int
    live: LiveSet
    held: HeldBytes
    scheduler: FairScheduler = field(default_factory=FairScheduler)
    useless: UselessFrames = field(default_factory=UselessFrames)
    far_ends: dict[asyncio.BaseTransport, FarEnd] = field(default_factory=dict)
