"""A way of its own for the message that is all a read brings, against the way of any batch.

Found, changed against shipped: CPU a round trip 1.15 (256 B x 1) and 0.95 (4,096 B x 8), the latter
within what turns differ: there nearly every read brings several.
"""

from bench.compare.plan import MEDIUM, SMALL
from fastrelay.protocol.decoder import FrameDecoder

LOADS = (SMALL, MEDIUM)


def change() -> None:
    """Let every read go the way of a batch."""
    FrameDecoder.lone_message = lambda self, count: None  # type: ignore[method-assign]
