"""Newcomers as a part alone needs them: there is always time, unless a test says otherwise."""

from collections.abc import Callable
from typing import Any

from fastrelay.loop.newcomers import Newcomers
from fastrelay.net.tls.buffers import TlsBuffers, Wheel


def unhurried(next_iteration: Callable[[Callable[[], None]], Any]) -> Newcomers:
    """All that comes is done at once."""
    return Newcomers(1e9, next_iteration)


def unhurried_tls(wheel: Wheel, stall: float) -> TlsBuffers:
    """What TLS connections share where any handshake is made at once."""
    return TlsBuffers(
        wheel,
        stall,
        unhurried(lambda callback: None),
        lambda client: True,
        lambda client, fault: None,
    )
