"""The thread that writes the log: order, bounds, what is lost, and ends that fail, over real pipes.

What a whole relay does then is in ``tests/wire/test_log_that_stalls.py``.
"""

import contextlib
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastrelay.log import MAX_LINE, Log
from fastrelay.process.log_writer import CLOSED, LogWriter, stderr_through

PIPE = 65536
"""What a pipe holds that is not read."""


def until(condition: Callable[[], object]) -> None:
    """Wait until it is true; fails the test if that takes too long."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextlib.contextmanager
def pipe() -> Iterator[list[int]]:
    """A pipe's two ends; closes those that are still in the list."""
    ends = list(os.pipe())
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def started(descriptor: int, **limits: int) -> LogWriter:
    writer = LogWriter(descriptor, **limits)
    writer.start("{} lost\n".format)
    return writer


def read_all(reader: int, writer: int) -> list[str]:
    """All lines of a pipe; closes the end that is written to."""
    os.close(writer)
    with os.fdopen(reader) as file:
        return file.read().splitlines(keepends=True)


def is_drained(reader: int, writer: LogWriter) -> bool:
    """Read what lies in a non-blocking pipe; returns whether nothing is queued for it."""
    with contextlib.suppress(BlockingIOError):
        os.read(reader, PIPE)
    return writer.counts().queued == 0


def line(number: int, length: int = 100) -> str:
    return f"{number} ".ljust(length - 1, "x") + "\n"


def test_lines_are_written_in_order_and_all_by_close() -> None:
    reader, end = os.pipe()
    writer = started(end)
    lines = [line(number, 10 + number % 300) for number in range(300)]
    for text in lines:
        writer.write(text)
    writer.close()
    assert writer.counts() == (0, 0)
    assert read_all(reader, end) == lines


def test_a_write_is_whole_lines_and_fits_a_pipe_at_once() -> None:
    """Over a socket pair that keeps the bounds of each write."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        writer = started(ours.fileno())
        lines = [line(number, 1000) for number in range(30)] + [line(30, MAX_LINE), line(31)]
        received = []

        def receive() -> None:
            while sum(piece.count(b"\n") for piece in received) < len(lines):
                received.append(theirs.recv(100_000))

        thread = threading.Thread(target=receive)
        thread.start()
        for text in lines:
            writer.write(text)
        thread.join(10)
        writer.close()
    assert b"".join(received).decode() == "".join(lines)
    assert all(piece.endswith(b"\n") and len(piece) <= 4096 for piece in received)
    assert len(received) < len(lines)


@pytest.mark.parametrize("limits", [{"most_lines": 40}, {"most_bytes": 40_000}])
def test_a_reader_that_stalls_costs_lines_that_are_counted_and_said(limits: dict[str, int]) -> None:
    reader, end = os.pipe()
    writer = started(end, **limits)
    wrote = 0
    while writer.counts().lost < 25:  # The pipe, the write that is blocked, the queue: all full.
        writer.write(line(wrote, 1000))
        wrote += 1
        time.sleep(0.0005)
    lost, queued = writer.counts()
    assert 0 < queued <= 40
    with os.fdopen(reader, "rb", buffering=0) as file:
        read = b""
        while writer.counts().queued:
            read += file.read(100_000)
        writer.write("later\n")
        until(lambda: not writer.counts().queued)
        writer.close()
        os.close(end)
        read += file.read(200_000)
    lines = read.decode().splitlines(keepends=True)
    assert lines[:-2] == [line(number, 1000) for number in range(wrote - lost)]
    assert lines[-2:] == [f"{lost} lost\n", "later\n"]


def test_what_is_lost_is_said_where_it_is_missing_and_without_another_line() -> None:
    with pipe() as ends:
        writer = started(ends[1], most_lines=30)
        while writer.counts().lost < 3:
            writer.write(line(0, 4000))
            time.sleep(0.0005)
        lost = writer.counts().lost
        read = b""
        while f"{lost} lost\n".encode() not in read:
            read += os.read(ends[0], 100_000)
        assert read.endswith(f"\n{lost} lost\n".encode())
        writer.close()


def test_after_a_loss_half_of_the_queue_is_free_before_lines_are_taken_again() -> None:
    """Otherwise each line that the reader takes would let in one line and one more count."""
    with pipe() as ends:
        writer = started(ends[1], most_lines=40)
        while not writer.counts().lost:
            writer.write(line(0, 4000))
            time.sleep(0.0005)
        os.read(ends[0], 8000)
        until(lambda: writer.counts().queued < 40)
        lost, queued = writer.counts()
        writer.write(line(1))
        assert queued > 20
        assert writer.counts() == (lost + 1, queued)
        os.set_blocking(ends[0], False)
        until(lambda: is_drained(ends[0], writer))
        writer.write(line(1))
        assert writer.counts().lost == lost + 1
        writer.close()


def test_a_closed_pipe_loses_lines_and_a_reader_that_comes_hears_of_it(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    end = os.open(fifo, os.O_WRONLY)
    os.close(first)
    writer = started(end)
    for number in range(5):
        writer.write(line(number))
    until(lambda: writer.counts() == (5, 0))
    second = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer.write("later\n")
    writer.close()
    assert read_all(second, end) == ["5 lost\n", "later\n"]


@pytest.mark.parametrize("place", ["/dev/full", "closed"])
def test_a_place_that_takes_nothing(place: str) -> None:
    descriptor = CLOSED if place == "closed" else os.open(place, os.O_WRONLY)
    writer = started(descriptor)
    writer.write("a\n")
    writer.write("b\n")
    until(lambda: writer.counts() == (2, 0))
    writer.write("c\n")
    until(lambda: writer.counts() == (3, 0))
    writer.close()
    if descriptor != CLOSED:
        os.close(descriptor)


def test_a_line_of_which_a_full_disk_took_a_part_is_ended(tmp_path: Path) -> None:
    """The next line is not the rest of it, and it is counted. The disk: a limit of file size."""
    file = tmp_path / "log"
    ours = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    end = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        writer = started(end)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150, limits[1]))
        writer.write(line(1) + line(2))
        writer.write(line(3))
        until(lambda: writer.counts() == (2, 0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ours)
    writer.write("later\n")
    writer.close()
    os.close(end)
    assert file.read_text() == line(1) + line(2)[:50] + "\n2 lost\nlater\n"


def test_a_descriptor_that_another_process_made_non_blocking() -> None:
    reader, end = os.pipe()
    os.set_blocking(end, False)
    writer = started(end)
    lines = [line(number, 4000) for number in range(40)]
    for text in lines:
        writer.write(text)
    until(lambda: writer.counts().queued < 40 - PIPE // 4096 + 2)
    got: list[str] = []

    def read() -> None:
        with os.fdopen(reader) as file:
            got.extend(file)

    thread = threading.Thread(target=read)
    thread.start()
    until(lambda: not writer.counts().queued)
    writer.close()
    os.close(end)
    thread.join(10)
    assert got == lines
    assert writer.counts().lost == 0


def test_closing_does_not_wait_for_a_reader_that_stalls() -> None:
    with pipe() as ends:
        writer = started(ends[1])
        for number in range(40):
            writer.write(line(number, 4000))
        until(lambda: writer.counts().queued < 40 - PIPE // 4096 + 2)
        began = threading.Event()
        thread = threading.Thread(target=lambda: (began.set(), writer.close(0.05)))
        thread.start()
        thread.join(10)
        assert began.is_set()
        assert not thread.is_alive()
        os.set_blocking(ends[0], False)
        until(lambda: is_drained(ends[0], writer))


def test_the_loss_line_may_be_made_while_another_thread_logs() -> None:
    log = Log(len)
    made: list[str] = []
    stop = threading.Event()

    def make() -> None:
        while not stop.is_set():
            made.append(log.loss_line(1))

    thread = threading.Thread(target=make)
    thread.start()
    for _ in range(2000):
        log.info("starting")
    stop.set()
    thread.join()
    assert {text[text.index(" level") :] for text in made} == {
        " level=WARN msg=log_lines_lost count=1\n"
    }


def test_what_python_writes_to_stderr_goes_the_same_way() -> None:
    reader, end = os.pipe()
    writer = started(end)
    ours = sys.stderr
    with stderr_through(writer):
        sys.stderr.write("half a ")
        print("line, \u00e9 escaped", file=sys.stderr)
        assert logging.lastResort is not None  # What asyncio's logger writes with.
        logging.lastResort.handle(logging.makeLogRecord({"levelno": 30, "msg": "said"}))
        sys.stderr.write("y" * 10_000 + "\n")
        sys.stderr.write("no newline")
    assert sys.stderr is ours
    writer.close()
    lines = read_all(reader, end)
    assert lines[0] == "half a line, \\xe9 escaped\n"
    assert lines[1] == "said\n"
    assert lines[-2:] == ["y" * 10_000 + "\n", "no newline"]
