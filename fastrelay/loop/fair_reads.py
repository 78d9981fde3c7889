"""How much one connection may read before all others have been served.

A peer that sends as fast as it can is read again and again in one iteration of the event loop
(libuv: 32 times), and what a byte costs differs a hundredfold: tiny messages, TLS records that say
nothing. So a connection whose read fills its buffer is paused until the next loop iteration. If
processing that read was too slow, its next read is limited to 8 KiB
(``bench/experiments/fair_turns.py``).
"""

import asyncio
import time
from typing import Final

BUFFER_BYTES: Final = 256 * 1024
"""A read takes a whole burst of frames, or a whole frame of the usual limit."""

SMALL_READ: Final = 8 * 1024
"""The read quota of a connection whose bytes are not known to be cheap: 1,170 messages of one
byte."""

LONGEST_READ: Final = 0.01
"""Seconds that processing a read of the whole buffer may take."""


class ReceiveBuffer:
    """The buffer that all connections of a loop read into; its content is used within a read.

    Attributes:
        whole: the buffer.
        small: its first :data:`SMALL_READ` bytes.
    """

    def __init__(self, size: int = BUFFER_BYTES) -> None:
        self.whole = memoryview(bytearray(size))
        self.small = self.whole[:SMALL_READ]

    def next_quota(self, count: int, seconds: float) -> memoryview:
        """What a connection may fill next, whose last ``count`` bytes took ``seconds``."""
        return self.whole if seconds * len(self.whole) < LONGEST_READ * count else self.small


class FairReader(asyncio.BufferedProtocol):
    """A protocol that reads into the shared buffer and lets all others be served in between.

    Attributes:
        _quota: the part of the shared buffer that the next read may fill.
        _paused: the connection is not to be read at all.
    """

    __slots__ = ()  # subclasses have the attributes: of two bases only one may have slots

    _paused: bool
    _quota: memoryview
    _transport: asyncio.Transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._quota

    @property
    def receive_buffer(self) -> memoryview:
        """The whole shared buffer, for a transport that accounts for reads itself."""
        raise NotImplementedError

    def hold_undecrypted(self, size: int) -> None:
        """A transport keeps so many bytes that came and have not been passed on."""
        raise NotImplementedError

    def process_read(self, nbytes: int) -> int:
        """Process what was read into the buffer, however much it is.

        Returns the bytes whose cost is known now: 0 if they are only kept for what comes.
        """
        raise NotImplementedError

    def _quota_used(self, buffer: ReceiveBuffer, nbytes: int) -> None:
        """Process a read that may not be all there is, and let the others be served."""
        started_at = time.perf_counter()
        count = self.process_read(nbytes)
        took = time.perf_counter() - started_at
        if count:
            self._quota = buffer.next_quota(count, took)  # type: ignore[misc]  # has a slot
        if not self._transport.is_closing():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._next_iteration)

    def _next_iteration(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
