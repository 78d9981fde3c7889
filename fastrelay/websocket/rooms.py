"""How much one connection may read before all others have had their turn.

A peer that sends as fast as it can is read again and again in one turn of the loop (libuv: 32
times), and a read of tiny messages takes a hundred times as long as one of large ones. So who has
filled the room it was given waits for the next turn, and gets less room while what it sends takes
long (``bench/experiments/fair_turns.py``).
"""

from typing import Final

ROOM_BYTES: Final = 256 * 1024
"""A read takes a whole burst of frames, or a whole frame of the usual limit."""

NARROW_BYTES: Final = 8 * 1024
"""For who has not shown yet that its bytes are worked off quickly: 1,170 messages of one byte."""

LONGEST_READ: Final = 0.005
"""Seconds a full read of the whole room may take."""


class Rooms:
    """The receive buffer all connections of a loop share, and the beginning of it.

    Attributes:
        whole: the buffer.
        narrow: its first :data:`NARROW_BYTES`.
    """

    def __init__(self, size: int = ROOM_BYTES, longest: float = LONGEST_READ) -> None:
        self.whole = memoryview(bytearray(size))
        self.narrow = self.whole[:NARROW_BYTES]
        self._longest = longest

    def after(self, count: int, seconds: float) -> memoryview:
        """The room for who has just filled its own: ``count`` bytes that took ``seconds``."""
        return self.whole if seconds * len(self.whole) < self._longest * count else self.narrow
