"""What all TLS connections of one loop share: memory, timers, and when handshakes begin."""

from collections.abc import Callable
from typing import Final, Protocol

from fastrelay.loop.fair_reads import BUFFER_BYTES, FIRST_QUOTA, FairScheduler
from fastrelay.loop.newcomers import Newcomers
from fastrelay.loop.timer_wheel import Timed
from fastrelay.net.tls.session import SharedBios
from fastrelay.policy.counters.refused import HandshakeFault

_PLAINTEXT_BYTES: Final = 64 * 1024
"""For protocols that bring no buffer of their own."""


class Wheel(Protocol):
    """The part of the timer wheel's interface that the TLS layer uses."""

    def after(self, item: Timed, delay: float) -> None:
        """Call ``item.on_timer()`` in ``delay`` seconds."""

    def cancel(self, item: Timed) -> None:
        """Do not call it."""


class TlsBuffers:
    """What all TLS connections of one loop share.

    Args:
        wheel: for peers that stop inside a handshake message.
        stall: seconds that such a peer has for the rest of the message.
        newcomers: schedules handshakes.
        may_shake_hands: takes a token for a handshake of an address; returns whether there was one.
        handshake_failed: called with the address and the fault of each handshake that failed.
        scheduler: that of the event loop, shared with the connections above; by default a new one.
    """

    def __init__(
        self,
        wheel: Wheel,
        stall: float,
        newcomers: Newcomers,
        may_shake_hands: Callable[[str], bool],
        handshake_failed: Callable[[str, HandshakeFault], None],
        scheduler: FairScheduler | None = None,
    ) -> None:
        self.scheduler = FairScheduler() if scheduler is None else scheduler
        self.ciphertext = memoryview(bytearray(BUFFER_BYTES))
        self.first = self.ciphertext[:FIRST_QUOTA]
        self.plain = memoryview(bytearray(_PLAINTEXT_BYTES))
        self.bios = SharedBios()
        self.wheel = wheel
        self.stall = stall
        self.newcomers = newcomers
        self.may_shake_hands = may_shake_hands
        self.handshake_failed = handshake_failed
