"""The fast decode of a message that is all a read brings, against the loop for any read.

Found, changed against shipped: CPU a round trip 1.15 (256 B x 1) and 0.95 (4,096 B x 8), the latter
within what turns differ: there nearly every read brings several.
"""

from bench.compare.plan import MEDIUM, SMALL
from fastrelay.protocol.decoder import FrameDecoder

LOADS = (SMALL, MEDIUM)


def change() -> None:
    """Let every read be decoded by the loop."""

    def decode(self: FrameDecoder, count: int) -> list[bytes]:
        if self._partial is None:
            return self._decode(self._shared, 0, count)
        return shipped(self, count)  # which takes no fast decode within a frame

    shipped = FrameDecoder.buffer_updated
    FrameDecoder.buffer_updated = decode  # type: ignore[method-assign]
