"""A slow line is as slow as it says, in packets; and what the matrix shows of a relay."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.lines.line import slow_line, why_impossible

REASON = why_impossible()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


async def test_bytes_are_acknowledged_by_the_far_end_alone_and_at_the_rate() -> None:
    loop, size = asyncio.get_running_loop(), 60_000
    with slow_line(100_000, 0.1) as line, socket.create_server((line.address, 0)) as server:
        server.setblocking(False)
        far = await line.dial(server.getsockname()[1])
        near, _ = await loop.sock_accept(server)
        with far, near:
            near.setblocking(False)
            began = time.monotonic()
            await loop.sock_sendall(near, b"x" * size)
            received = 0
            while received < size:
                received += len(await loop.sock_recv(far, 65_536))
            # Never sooner than the line allows; how much later is the machine's.
            assert time.monotonic() - began >= size / 100_000


def test_nothing_of_a_line_is_left() -> None:
    with contextlib.suppress(ZeroDivisionError), slow_line(1e6, 0.0):
        assert _namespaces()
        raise ZeroDivisionError
    assert not _namespaces()


def _namespaces() -> list[Path]:
    return list(Path("/var/run/netns").glob(f"fl{os.getpid()}-*"))


@pytest.mark.slow
def test_the_matrix_is_printed() -> None:
    command = (sys.executable, "-m", "bench", "lines", "--quick", "--seconds", "1", "--without-go")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith(("| down", "| up"))]
    assert len(rows) == 4
    assert all("yes" in row for row in rows)
