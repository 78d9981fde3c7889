"""A slow line to a host of its own, and sockets from there."""

import asyncio
import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.support.generator import Failed

_CLONE_NEWNET: Final = 0x40000000
_MOST: Final = 64
"""Lines at the same time, of all processes: a /30 of a network for documentation each."""


class Line:
    """A line that is up.

    Args:
        namespace: where its far end is.
        address: that of the near end, where a relay can be dialled.
    """

    def __init__(self, namespace: str, address: str) -> None:
        self._namespace = namespace
        self.address = address

    async def dial(self, port: int) -> socket.socket:
        """A connection from the far end to ``port`` of the near end."""
        return await asyncio.to_thread(self._dial, port)

    def _dial(self, port: int) -> socket.socket:
        """In a thread of its own, since a thread cannot leave the namespace it has entered."""
        made: list[socket.socket] = []

        def enter_and_connect() -> None:
            with open(f"/var/run/netns/{self._namespace}", "rb") as entered:
                if not ctypes.CDLL(None).setns(entered.fileno(), _CLONE_NEWNET):
                    with contextlib.suppress(OSError):
                        made.append(socket.create_connection((self.address, port), timeout=20))

        thread = threading.Thread(target=enter_and_connect)
        thread.start()
        thread.join()
        if not made:
            raise Failed("no connection over the slow line")
        made[0].setblocking(False)
        return made[0]


def why_impossible() -> str:
    """Why there can be no line here; empty if there can."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    if shutil.which("ip") is None:
        return "the command ip is not installed"
    return "" if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"


@contextlib.contextmanager
def slow_line(rate: float, round_trip: float) -> Iterator[Line]:
    """A line of ``rate`` bytes a second each way; nothing of it is left afterwards.

    Its addresses are of RFC 5737 and are never routed.

    Args:
        round_trip: seconds, without what waits for the line.

    Raises:
        Failed: the system does not allow it.
    """
    with contextlib.ExitStack() as stack:
        number = stack.enter_context(free_number())
        name = f"fl{os.getpid()}-{number}"
        near, far = f"203.0.113.{4 * number + 1}", f"203.0.113.{4 * number + 2}"
        device = f"fl{os.getpid() % 10**8}n{number}"
        try:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
            emulator = subprocess.Popen(
                [
                    *(sys.executable, "-m", "bench.lines.emulator"),
                    *(name, device, str(rate), str(round_trip / 2)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            stack.enter_context(emulator)
            stack.callback(emulator.kill)
            assert emulator.stdout is not None
            if emulator.stdout.readline() != b"ready\n":
                raise Failed("the emulator of a line does not start")
            _ip("addr", "add", f"{near}/30", "dev", device)
            _ip("link", "set", device, "up")
            _ip("-n", name, "addr", "add", f"{far}/30", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
        except subprocess.CalledProcessError as error:
            raise Failed(f"no network namespace: {error.stderr.decode().strip()}") from None
        yield Line(name, near)


@contextlib.contextmanager
def free_number() -> Iterator[int]:
    """A number that no other line has now, also of another process: a name that is bound.

    Raises:
        Failed: there are too many lines.
    """
    for number in range(_MOST):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
            try:
                taken.bind(f"\0fastrelay-line-{number}")
            except OSError:
                continue
            yield number
            return
    raise Failed(f"there are {_MOST} slow lines already")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
