"""One receive buffer for all connections, against one of its own for each.

Found, changed against shipped: CPU a round trip 1.0 at windows 1 and 32; an idle connection weighs
68 KB instead of 2.4 KB: Python clears the buffer it makes. So the buffer is shared for the memory.
"""

from bench.compare.plan import BATCH, SMALL
from fastrelay.websocket import connection

LOADS = (SMALL, BATCH)
IDLE = True


def change() -> None:
    """Give each decoder 64 KiB."""
    shipped = connection.FrameDecoder

    class Own(shipped):  # type: ignore[misc, valid-type]
        __slots__ = ()

        def __init__(self, _: memoryview, max_message: int) -> None:
            super().__init__(memoryview(bytearray(64 * 1024)), max_message)

    connection.FrameDecoder = Own  # type: ignore[misc]
