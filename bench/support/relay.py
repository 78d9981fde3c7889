"""A relay to measure, as a process of its own."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from bench.support.ports import free_port

OURS = (
    f"{shlex.quote(sys.executable)} -m fastrelay --insecure-listen 127.0.0.1:{{port}}"
    " --metrics-listen 127.0.0.1:{metrics} --upgrade-burst 0"
)
"""The command that runs fastrelay with everything on but the rate limit."""

_PATIENCE = 40.0
_ONE_PROCESS = {"FASTRELAY_WORKERS": "1"}
"""What is measured is one process, unless its command says otherwise."""


class Relay(NamedTuple):
    """A relay that runs.

    Attributes:
        metrics_port: where it serves ``/metrics``; 0 if it does not.
    """

    pid: int
    port: int
    metrics_port: int = 0

    def scrape(self) -> dict[str, float]:
        """Every sample of its metrics page, by name with labels as written."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}


@contextlib.contextmanager
def running(command: str = OURS, log: Path | None = None) -> Iterator[Relay]:
    """Start a relay by ``command``, in which ``{port}`` and ``{metrics}`` stand for free ports.

    It has its own process group, and nothing of it is left behind, whatever happens.

    Raises:
        RuntimeError: it did not begin to listen.
    """
    port, metrics = free_port(), free_port()
    words = shlex.split(command.replace("{port}", str(port)).replace("{metrics}", str(metrics)))
    with contextlib.ExitStack() as stack:
        output: int | IO[bytes] = (
            subprocess.DEVNULL if log is None else stack.enter_context(log.open("wb"))
        )
        process = subprocess.Popen(
            words,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=_ONE_PROCESS | os.environ,
        )
        stack.callback(_end, process)
        try:
            wait_until_it_listens(port, lambda: process.poll() is None)
        except TimeoutError:
            said = log.read_text(errors="replace")[-2000:] if log else ""
            raise RuntimeError(f"this does not listen on port {port}: {command}\n{said}") from None
        yield Relay(process.pid, port, metrics)


def wait_until_it_listens(port: int, is_running: Callable[[], bool] = lambda: True) -> None:
    """Wait until a relay accepts connections on a port.

    Raises:
        TimeoutError: it does not, or it runs no more.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and is_running():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise TimeoutError


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End it and all it has started, also when it is interrupted meanwhile."""
    try:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
    finally:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
