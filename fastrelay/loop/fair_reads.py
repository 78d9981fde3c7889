"""Fair queueing: connections that send more than their share get one slice of time together.

libuv reads a socket up to 32 times in one iteration of the event loop while the peer sends as fast
as it can. What a byte costs differs a thousandfold between messages of 256 KiB, messages of one
byte, pings, and TLS records without content. So a connection is *light* while its reads are short
of its read quota and take less than a quantum of time. Light connections are read at once. A
connection whose read fills its quota or takes longer is *heavy*: it is paused and joins a queue
that is served in rotation, within one slice of time in each iteration. Light connections do not
wait for the queue.

The cost of a read is measured while it is processed: it is processed in pieces, and the clock is
read after each. When the quantum is used up, the remainder of the read is kept until the
connection's next turn. The next quota is the number of bytes that would have taken one quantum
(``bench/experiments/fair_turns.py``; docs/decisions/0011-fair-queueing.md).

The model is FQ-CoDel's queue of new and old flows (RFC 8290), with time in place of bytes.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

BUFFER_BYTES: Final = 256 * 1024
"""The size of the receive buffer: one read can take a burst of frames, or a frame of 256 KiB."""

FIRST_QUOTA: Final = 16 * 1024
"""The read quota of a connection that has not filled one yet, in bytes."""

_LEAST_QUOTA: Final = 512
_MOST_GROWTH: Final = 4
"""The largest factor by which a quota grows from one turn to the next."""

QUANTUM: Final = 0.001
"""Seconds that one read of a heavy connection may take."""


class FairReader(asyncio.BufferedProtocol):
    """A protocol that reads into the shared buffer and is scheduled by a :class:`FairScheduler`.

    Attributes:
        _quota: the part of the shared buffer that the next read may fill.
        _light_limit: bytes of a read that is not light any more. Derived from the quota, cached:
            hot path.
        _paused: the connection is not to be read at all.
    """

    __slots__ = ()  # subclasses have the attributes: of two bases only one may have slots

    _light_limit: int
    _paused: bool
    _quota: memoryview
    _transport: asyncio.Transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._quota

    @property
    def receive_buffer(self) -> memoryview:
        """The whole shared buffer, for a transport that reads the socket itself."""
        raise NotImplementedError

    def process_read(self, nbytes: int) -> None:
        """Process ``nbytes`` bytes at the start of the buffer, as if read now."""
        raise NotImplementedError

    def kept_changed(self, size: int) -> None:
        """The scheduler keeps ``size`` bytes of what was read."""
        raise NotImplementedError

    def process_piece(self, data: memoryview, position: int) -> int:
        """Process some of ``data`` from ``position`` on: a fraction of a millisecond's worth.

        Returns the position behind that; at least one byte is taken.
        """
        raise NotImplementedError


class FairScheduler:
    """Schedules the heavy connections of one event loop.

    Args:
        slice_seconds: the time that all of them together may take in one loop iteration.
        clock: the seconds that this thread has run. Time in which other threads and processes
            had the processor is not a cost of the peer.

    Attributes:
        whole: the receive buffer that all connections of the loop share.
        first: the first quota in it.
        kept_bytes: the sum of all kept remainders, in bytes.
    """

    def __init__(
        self,
        slice_seconds: float = 0.003,
        size: int = BUFFER_BYTES,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._slice = slice_seconds
        self._clock = clock
        self.whole = memoryview(bytearray(size))
        self.first = self.whole[:FIRST_QUOTA]
        self.kept_bytes = 0
        self._kept: dict[FairReader, bytes] = {}
        self._queue: dict[FairReader, None] = {}
        self._is_scheduled = False

    def __len__(self) -> int:
        """How many connections wait for their turns."""
        return len(self._queue)

    # -- called by readers --------------------------------------------------------------------

    def read(self, reader: FairReader, nbytes: int) -> None:
        """Process a read that is large or has filled the quota, and measure its cost."""
        started_at = self._clock()
        data = reader._quota[:nbytes]
        position = reader.process_piece(data, 0)
        is_full = nbytes >= len(reader._quota)
        if position == nbytes and not is_full:
            return  # the usual case: the clock was read once
        is_kept = self._process(reader, data, position, started_at)
        if is_kept or is_full:
            self._enqueue(reader)

    def process(self, reader: FairReader, nbytes: int) -> None:
        """Process bytes that a transport, itself a reader, has put into the reader's buffer."""
        data = reader.receive_buffer[:nbytes]
        if self._process(reader, data, 0, self._clock()):
            self._enqueue(reader)

    def may_read(self, reader: FairReader) -> bool:
        """Whether a reader that is no longer paused may resume its transport at once.

        If not, the scheduler resumes it in its turn, after the kept remainder.
        """
        if reader in self._queue:
            return False
        if reader in self._kept:
            self._enqueue(reader)
            return False
        return True

    def discard(self, reader: FairReader) -> None:
        """Forget a connection that has ended, and its kept remainder."""
        self._queue.pop(reader, None)
        self.kept_bytes -= len(self._kept.pop(reader, b""))

    # -- turns --------------------------------------------------------------------------------

    def _process(
        self, reader: FairReader, data: memoryview, position: int, started_at: float
    ) -> bool:
        """Process the rest of a read until a quantum of time is used up.

        Returns whether some of it is kept for later.
        """
        clock, end = self._clock, len(data)
        now = clock()
        while position < end and not reader._paused and now - started_at < QUANTUM:
            position = reader.process_piece(data, position)
            now = clock()
        if position:
            self._set_quota(reader, position, now - started_at)
        if position < end and not reader._transport.is_closing():
            self._keep(reader, bytes(data[position:]))
            return True
        return False

    def _set_quota(self, reader: FairReader, count: int, seconds: float) -> None:
        """Set the quota to what takes one quantum, given that ``count`` bytes took ``seconds``."""
        whole = reader.receive_buffer
        most = min(len(whole), _MOST_GROWTH * len(reader._quota))
        wanted = int(count * QUANTUM / seconds) if seconds else most
        size = max(min(wanted, most), _LEAST_QUOTA)
        if size != len(reader._quota):
            reader._quota = whole[:size]  # type: ignore[misc]  # has a slot
            reader._light_limit = min(size, FIRST_QUOTA)  # type: ignore[misc]

    def _keep(self, reader: FairReader, data: bytes) -> None:
        self.kept_bytes += len(data) - len(self._kept.get(reader, b""))
        self._kept[reader] = data
        reader.kept_changed(len(data))

    def _enqueue(self, reader: FairReader) -> None:
        if reader._transport.is_closing():
            self.discard(reader)
            return
        if reader not in self._queue:
            self._queue[reader] = None
            reader._transport.pause_reading()
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        """Serve connections in rotation until the slice of this loop iteration is used up."""
        self._is_scheduled = False
        clock = self._clock
        started_at = clock()
        promised = 0.0  # seconds, for the reads of connections that are resumed here
        while self._queue and clock() - started_at + promised < self._slice:
            reader = next(iter(self._queue))
            del self._queue[reader]
            if reader._paused or reader._transport.is_closing():
                continue  # its remainder waits for resume_reading(), or for discard()
            data = self._kept.pop(reader, b"")
            self.kept_bytes -= len(data)
            if data and self._process(reader, memoryview(data), 0, clock()):
                self._enqueue(reader)
                continue
            if data:
                reader.kept_changed(0)
            if not reader._paused and not reader._transport.is_closing():
                reader._transport.resume_reading()
                promised += QUANTUM
        if self._queue and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._serve)
