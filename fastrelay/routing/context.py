"""What all phones and binaries of one relay share."""

from dataclasses import dataclass

from fastrelay.config.settings import Limits
from fastrelay.log import Log
from fastrelay.policy.counters import Counters
from fastrelay.policy.held_bytes import HeldBytes
from fastrelay.routing.waker import Waker


@dataclass(frozen=True, slots=True)
class RoutingContext:
    """The limits, the counters and the collaborators of one relay's routing.

    Attributes:
        held_bytes: the budget of bytes kept for all peers.
        waker: what wakes phones by push.
    """

    limits: Limits
    counters: Counters
    held_bytes: HeldBytes
    waker: Waker
    log: Log
