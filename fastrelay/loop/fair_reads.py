"""How much one connection may read before all others have had their turn.

A peer that sends as fast as it can is read again and again in one turn of the loop (libuv: 32
times), and what a byte costs differs a hundredfold: tiny messages, TLS records that say nothing. So
who has filled the room it was given waits for the next turn, and gets less room while what it
sends takes long (``bench/experiments/fair_turns.py``).
"""

import asyncio
import time
from typing import Final

ROOM_BYTES: Final = 256 * 1024
"""A read takes a whole burst of frames, or a whole frame of the usual limit."""

NARROW_BYTES: Final = 8 * 1024
"""For who has not shown yet that its bytes are worked off quickly: 1,170 messages of one byte."""

LONGEST_READ: Final = 0.01
"""Seconds a full read of the whole room may take."""


class Rooms:
    """The receive buffer all connections of a loop share, and the beginning of it.

    Attributes:
        whole: the buffer.
        narrow: its first :data:`NARROW_BYTES`.
    """

    def __init__(self, size: int = ROOM_BYTES) -> None:
        self.whole = memoryview(bytearray(size))
        self.narrow = self.whole[:NARROW_BYTES]

    def after(self, count: int, seconds: float) -> memoryview:
        """The room for who has just filled its own: ``count`` bytes that took ``seconds``."""
        return self.whole if seconds * len(self.whole) < LONGEST_READ * count else self.narrow


class TurnTaker(asyncio.BufferedProtocol):
    """A protocol that reads into a shared room, and takes turns with all others.

    Attributes:
        _room: what it reads into.
        _paused: it is not to be read at all, turn or not.
    """

    __slots__ = ()  # those who inherit have them: of two bases only one may

    _paused: bool
    _room: memoryview
    _transport: asyncio.Transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._room

    @property
    def receive_buffer(self) -> memoryview:
        """The whole room, for a transport that shares the turns out itself."""
        raise NotImplementedError

    def process_read(self, nbytes: int) -> int:
        """Take what was read into the room, however much it is.

        Returns the bytes whose cost is known now: 0 if they are only kept for what comes.
        """
        raise NotImplementedError

    def _room_filled(self, rooms: Rooms, nbytes: int) -> None:
        """Take a read that may not be all there is, and let the others have their turn."""
        began = time.perf_counter()
        count = self.process_read(nbytes)
        took = time.perf_counter() - began
        if count:
            self._room = rooms.after(count, took)  # type: ignore[misc]  # has a slot, see above
        if not self._transport.is_closing():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
