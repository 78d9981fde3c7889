"""Writes the log in a thread, so that the event loop never waits for the reader of the log.

A write to a pipe, a terminal or a network file system can block for ever, for example if the reader
stalls or a user presses Ctrl-S. Non-blocking mode does not solve this: it belongs to the open file
description, which other processes share, and regular files ignore it. Lines are therefore queued,
and one daemon thread makes the system calls. See ``docs/decisions/0009-log-writer.md``.
"""

import contextlib
import io
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from fastrelay.log import MAX_LINE, LineCounts

CLOSED: Final = -1
"""Stands for a missing descriptor: every line is lost, and counted."""

MOST_BYTES: Final = 1024 * 1024
MOST_LINES: Final = 8192

_CLOSE_SECONDS: Final = 1.0

_GATHER_SECONDS: Final = 0.02
"""How long after its last write the thread lets lines gather before it writes again.

In a burst of lines the thread then wakes up once instead of hundreds of times, and makes few
writes; after each write it must wait for the interpreter lock again. A single line is written at
once.
"""


class LogWriter:
    """A bounded queue of lines, and the thread that writes them to a descriptor in order.

    A write holds whole lines and at most :data:`fastrelay.log.MAX_LINE` bytes, so the lines of
    processes that share a pipe do not mix. When the queue is full, lines are lost until half of it
    has been written. A line at that place of the log says how many lines were lost.

    Args:
        descriptor: where to write; :data:`CLOSED` if there is no such place.
        most_bytes, most_lines: what the queue holds.
    """

    def __init__(
        self, descriptor: int, most_bytes: int = MOST_BYTES, most_lines: int = MOST_LINES
    ) -> None:
        self._descriptor = descriptor
        self._most_bytes = most_bytes
        self._most_lines = most_lines
        self._loss_line: Callable[[int], str] = lambda count: ""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        # The totals below only grow, and each has one side that changes it. So the writing thread
        # needs no lock; this one is for the threads that queue. It is reentrant because the garbage
        # collector may report an error to stderr at any moment.
        self._queueing = threading.RLock()
        self._queue: deque[str | int] = deque()  # An int: so many had been refused at this place.
        self._wake = threading.Lock()
        self._wake.acquire()
        self._asleep = True
        self._closing = False
        # Changed by those that queue.
        self._is_full = False
        self._queued_bytes = 0
        self._queued_lines = 0
        self._refused_lines = 0
        # Changed by the writing thread.
        self._done_bytes = 0
        self._done_lines = 0
        self._failed_lines = 0
        self._noted_refusals = 0
        self._unsaid = 0
        self._is_torn = False

    def start(self, loss_line: Callable[[int], str]) -> None:
        """Begin to write; ``loss_line`` makes the line that says how many are missing."""
        self._loss_line = loss_line
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line of at most :data:`fastrelay.log.MAX_LINE` ASCII characters, or lose it."""
        with self._queueing:
            share = 2 if self._is_full else 1
            held_bytes = self._queued_bytes - self._done_bytes + len(line)
            held_lines = self._queued_lines - self._done_lines + 1
            if held_bytes * share > self._most_bytes or held_lines * share > self._most_lines:
                self._is_full = True
                self._refused_lines += 1
                return
            if self._is_full:
                self._is_full = False
                self._queue.append(self._refused_lines)
            self._queued_bytes += len(line)
            self._queued_lines += 1
            self._queue.append(line)
            self._wake_up()

    def counts(self) -> LineCounts:
        """How many lines were lost so far, and how many are queued."""
        lost = self._refused_lines + self._failed_lines
        return LineCounts(lost, self._queued_lines - self._done_lines)

    def close(self, timeout: float = _CLOSE_SECONDS) -> None:
        """Write what can be written within ``timeout`` seconds, and end the thread.

        A thread that is blocked in a write is left behind; it ends with the process.
        """
        with self._queueing:
            self._closing = True
            self._wake_up()
        self._thread.join(timeout)

    def _wake_up(self) -> None:
        if self._asleep:
            self._asleep = False
            self._wake.release()

    # -- the writing thread ------------------------------------------------------------------

    def _run(self) -> None:
        # Signals are for the event loop. A terminal that stops background jobs that write (SIGTTOU)
        # would stop the whole relay.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        closing, may_write_at = False, 0.0
        while not closing:
            self._wake.acquire()
            if not self._closing:
                time.sleep(max(0.0, may_write_at - time.monotonic()))
            self._asleep = True  # Before looking: what is queued from now on wakes again.
            closing = self._closing
            while self._write_some():
                pass
            may_write_at = time.monotonic() + _GATHER_SECONDS

    def _write_some(self) -> bool:
        """Write the next lines that fit into one write; returns whether there were any."""
        batch: list[str] = []
        size = 0
        try:
            while self._queue:
                entry = self._queue[0]
                if isinstance(entry, int):
                    if batch:
                        break
                    self._note_refusals(entry)
                elif size + len(entry) > MAX_LINE and batch:
                    break
                else:
                    batch.append(entry)
                    size += len(entry)
                self._queue.popleft()
            if not batch:
                self._note_refusals(self._refused_lines)
            self._write_batch("".join(batch))
        except MemoryError:
            self._lose(len(batch))
        self._done_bytes += size
        self._done_lines += len(batch)
        return bool(batch)

    def _note_refusals(self, refused: int) -> None:
        if refused > self._noted_refusals:
            self._unsaid += refused - self._noted_refusals
            self._noted_refusals = refused

    def _lose(self, lines: int) -> None:
        self._failed_lines += lines
        self._unsaid += lines

    def _write_batch(self, text: str) -> None:
        """Write some lines; if lines before them are missing, first write how many."""
        if self._unsaid and (said := self._loss_line(self._unsaid)):
            if self._write_all(said):
                self._lose(text.count("\n"))
                return
            self._unsaid = 0
        if text:
            self._lose(self._write_all(text))

    def _write_all(self, text: str) -> int:
        """Write lines; returns how many of them were not written whole."""
        newline = b"\n" if self._is_torn else b""
        data = newline + text.encode("ascii")
        done = 0
        with contextlib.suppress(OSError):
            while done < len(data):
                try:
                    done += os.write(self._descriptor, data[done:])
                except BlockingIOError:  # Another process has made what is shared non-blocking.
                    poll = select.poll()
                    poll.register(self._descriptor, select.POLLOUT)
                    poll.poll()
        if done:  # If nothing was written, a line that was torn before still is.
            self._is_torn = done < len(data) and not data.endswith(b"\n", 0, done)
        return data.count(b"\n", max(done, len(newline)))


class _Pieces(io.BufferedIOBase):
    """The binary end of a stream whose bytes are queued as pieces of log."""

    name = "log"

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # from TextIOWrapper
        for at in range(0, len(data), MAX_LINE):
            self._writer.write(data[at : at + MAX_LINE].decode("ascii"))
        return len(data)


@contextlib.contextmanager
def stderr_through(writer: LogWriter) -> Iterator[None]:
    """Meanwhile ``sys.stderr`` is the queue of ``writer``.

    Python itself writes there, from the thread of the event loop too: exceptions of destructors,
    warnings, the logger of asyncio. With a reader that stalls each of them would block for ever.
    """
    pieces = _Pieces(writer)
    stream = io.TextIOWrapper(pieces, "ascii", "backslashreplace", line_buffering=True)
    with contextlib.redirect_stderr(stream):
        yield
    stream.flush()
