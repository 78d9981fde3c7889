"""Fair queueing: connections that send more than their share get one slice of time together.

**Light and heavy connections.** libuv reads a socket up to 32 times in one iteration of the event
loop if the peer sends as fast as it can. The time to process a byte can differ by a factor of a
thousand between messages of 256 KiB, messages of one byte, pings, and TLS records without content.
A connection is *light* while its reads are smaller than its read quota and take less than a quantum
of time. Light connections are read at once. A connection whose read fills its quota or takes longer
is *heavy*. It is paused and joins a queue, which is served in rotation, within one slice of time in
each iteration. Light connections do not wait for this queue.

**Measuring.** The cost of a read is measured while it is processed, piece by piece. Reading the
clock of the thread is a slow system call. It is therefore read only at the beginning and the end of
a read, and after a piece if a quantum has passed on the wall clock, because the thread cannot have
used more time than that. If a read is smaller than its quota and is processed within a quantum of
wall time, the thread's clock is not read. A read of less than 1 KiB is not measured at all.

**Turns.** When the quantum is used up, the remainder of the read is kept until the connection's
next turn. The next quota is the number of bytes that would have taken one quantum. A heavy
connection that is resumed is expected to take as long as in its last turn. If it takes longer, the
reads for which the slice has no time left are kept whole (``bench/experiments/fair_turns.py``;
docs/decisions/0011-fair-queueing.md).

The model is FQ-CoDel's queue of new and old flows (RFC 8290), with time in place of bytes.
"""

import asyncio
import time
from collections.abc import Callable
from typing import ClassVar, Final

BUFFER_BYTES: Final = 256 * 1024
"""The size of the receive buffer: one read can take a burst of frames, or a frame of 256 KiB."""

FIRST_QUOTA: Final = 16 * 1024
"""The read quota of a connection that has not filled one yet, in bytes."""

LIGHT_BYTES: Final = 1024
"""A read of fewer bytes is always light: it holds too few frames to take a quantum of time."""

_LEAST_QUOTA: Final = LIGHT_BYTES
_MOST_GROWTH: Final = 4
"""The largest factor by which a quota grows from one turn to the next."""

QUANTUM: Final = 0.001
"""Seconds that one read of a heavy connection may take."""


class FairReader(asyncio.BufferedProtocol):
    """A protocol that reads into the shared buffer and is scheduled by a :class:`FairScheduler`.

    Attributes:
        _quota: the part of the shared buffer that the next read may fill.
        _paused: whether the connection must not be read at all.
        most_read: the most bytes that a transport that reads for this protocol reads at once.
    """

    __slots__ = ()  # subclasses have the attributes: of two bases only one may have slots

    _paused: bool
    _quota: memoryview
    _transport: asyncio.Transport
    most_read: ClassVar[int] = BUFFER_BYTES

    data_received: Final = None
    """uvloop keeps hold of the last ``data_received`` that a protocol of the transport had, also of
    one before this. Without this attribute that is the request head's parser, which would live as
    long as the connection (``bench/experiments/parser_release.py``)."""

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
        """Process some of ``data`` from ``position`` on, for a fraction of a millisecond.

        Returns the position after these bytes; at least one byte is processed.
        """
        raise NotImplementedError


class FairScheduler:
    """Schedules the heavy connections of one event loop.

    Args:
        slice_seconds: the time that all of them together may take in one loop iteration.
        clock: the seconds that this thread has run. Time in which other threads and processes
            had the processor is not a cost of the peer.
        wall: a clock that takes a twentieth of the time of ``clock`` to read.

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
        wall: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._slice = slice_seconds
        self._clock = clock
        self._wall = wall
        self.whole = memoryview(bytearray(size))
        self.first = self.whole[:FIRST_QUOTA]
        self.kept_bytes = 0
        self._kept: dict[FairReader, bytes] = {}
        # With the seconds that the next read of each is expected to take.
        self._queue: dict[FairReader, float] = {}
        self._expected = QUANTUM  # that of the connection whose read was processed last
        self._is_scheduled = False
        self._used = 0.0  # seconds of the slice of this loop iteration

    def __len__(self) -> int:
        """How many connections wait for their turns."""
        return len(self._queue)

    # -- called by readers --------------------------------------------------------------------

    def read(self, reader: FairReader, nbytes: int) -> None:
        """Process a read of ``nbytes`` bytes."""
        data = reader._quota
        if nbytes >= len(data):
            self._process_heavy(reader, data)
            return
        data = data[:nbytes]
        position = self._process_light(reader, data)
        if position < nbytes and (
            self._process(reader, data, position) or nbytes >= len(reader._quota)
        ):
            self._enqueue(reader)

    def process(self, reader: FairReader, nbytes: int) -> None:
        """Process bytes that a transport, itself a reader, has put into the reader's buffer.

        If a remainder is kept, these bytes wait until it has been processed. This happens because
        a transport may continue with bytes that it has read already.
        """
        data = reader.receive_buffer[:nbytes]
        if reader in self._kept:
            self._keep(reader, self._kept[reader] + bytes(data))
            return
        position = self._process_light(reader, data)
        if position < nbytes and self._process(reader, data, position):
            self._enqueue(reader)

    def keep(self, reader: FairReader, data: bytes) -> None:
        """Process bytes of a reader in its turn, which comes after it has resumed if it is paused.

        None of its bytes may be kept already.
        """
        self._keep(reader, data)
        if not reader._paused:
            self._enqueue(reader)

    def keeps(self, reader: FairReader) -> bool:
        """Whether a remainder of its bytes is kept; later bytes must not be processed before it."""
        return reader in self._kept

    def _process_light(self, reader: FairReader, data: memoryview) -> int:
        """Process a read that did not fill the quota, as long as it is certainly cheap.

        Returns the position behind what was processed: the rest has to be measured. If nothing is
        left, but a quantum has passed, the next read of that size fills its quota and is measured.
        """
        wall, end = self._wall, len(data)
        started_at = wall()
        position, passed = reader.process_piece(data, 0), wall() - started_at
        while position < end and not reader._paused and passed < QUANTUM:
            position, passed = reader.process_piece(data, position), wall() - started_at
        if position == end and passed >= QUANTUM:
            self._resize(reader, end)
        return position

    def _process_heavy(self, reader: FairReader, data: memoryview) -> None:
        """Process a read that has filled the quota, if the slice has time left, or keep it."""
        if self._used < self._slice or not self._is_scheduled:
            self._process(reader, data, 0)
        elif not reader._transport.is_closing():
            self._keep(reader, bytes(data))
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

    def _process(self, reader: FairReader, data: memoryview, position: int) -> bool:
        """Process ``data`` from ``position`` on until a quantum of time is used up.

        Returns whether some of it is kept for later.
        """
        clock, wall = self._clock, self._wall
        used, begin, end = self._used, position, len(data)
        began_at, started_at = wall(), clock()
        while position < end and not reader._paused:
            position = reader.process_piece(data, position)
            if wall() - began_at >= QUANTUM and clock() - started_at >= QUANTUM:
                break
        now = clock()
        self._used = used + now - started_at  # with what a transport has had processed meanwhile
        if position > begin:
            self._set_quota(reader, position - begin, now - started_at)
        if position < end and not reader._transport.is_closing():
            self._keep(reader, bytes(data[position:]))
            return True
        return False

    def _set_quota(self, reader: FairReader, count: int, seconds: float) -> None:
        """Set the quota to what takes one quantum, given that ``count`` bytes took ``seconds``."""
        most = min(len(reader.receive_buffer), _MOST_GROWTH * len(reader._quota))
        wanted = int(count * QUANTUM / seconds) if seconds else most
        size = max(min(wanted, most), _LEAST_QUOTA)
        self._expected = min(seconds * size / count, QUANTUM)
        if size != len(reader._quota):
            self._resize(reader, size)

    def _resize(self, reader: FairReader, size: int) -> None:
        reader._quota = reader.receive_buffer[:size]  # type: ignore[misc]  # has a slot

    def _keep(self, reader: FairReader, data: bytes) -> None:
        self.kept_bytes += len(data) - len(self._kept.get(reader, b""))
        self._kept[reader] = data
        reader.kept_changed(len(data))

    def _enqueue(self, reader: FairReader) -> None:
        if reader._transport.is_closing():
            self.discard(reader)
            return
        if reader not in self._queue:
            self._queue[reader] = self._expected
            reader._transport.pause_reading()
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        """Serve connections in rotation until the slice of this loop iteration is used up.

        The reads of those that are resumed here come before the next slice, and use this one.
        """
        self._is_scheduled = False
        self._used = 0.0
        promised = 0.0  # seconds, for the reads of connections that are resumed here
        while self._queue and self._used + promised < self._slice:
            reader = next(iter(self._queue))
            expected = self._queue.pop(reader)
            if reader._paused or reader._transport.is_closing():
                continue  # its remainder waits for resume_reading(), or for discard()
            data = self._kept.pop(reader, b"")
            self.kept_bytes -= len(data)
            if data and self._process(reader, memoryview(data), 0):
                self._enqueue(reader)
                continue
            if data:
                reader.kept_changed(0)
            if not reader._paused and not reader._transport.is_closing():
                reader._transport.resume_reading()
                promised += expected
        if self._queue and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._serve)
