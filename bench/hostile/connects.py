"""One process of clients that connect and say nothing, so many a second."""

import asyncio
import contextlib
import resource
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from bench.hostile.peer import socket_from

_TURN: Final = 0.002
_RESERVE: Final = 200
"""Descriptors that are left for everything else."""

_CATCH_UP: Final = 0.25
"""Seconds of connects that are made up for after a pause; more would be a burst of another kind."""

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: no closed connection of ours keeps its port."""


@dataclass(frozen=True, slots=True)
class Connects:
    """How many connects a second, and where from."""

    port: int
    rate: float
    source: str = "127.0.0.2"


class Silence:
    """A part of :mod:`bench.hostile.process`: holds as many of its sockets as it may.

    A socket is closed by its own side only when there are too many, the oldest first.
    """

    def __init__(self, plan: Connects) -> None:
        self._plan = plan
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _RESERVE
        self._sockets: deque[socket.socket] = deque()
        self._opened = 0
        self._failed = 0

    async def set_up(self) -> None:
        """Nothing: all of it is the attack."""

    async def run(self, stop: asyncio.Event) -> None:
        """Connect until told to stop."""
        due = time.monotonic()
        while not stop.is_set():
            now = time.monotonic()
            due = max(due, now - _CATCH_UP)
            while due <= now:
                self._connect()
                due += 1 / self._plan.rate
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TURN):
                    await stop.wait()
        while self._sockets:
            self._close_oldest()

    def result(self) -> dict[str, Any]:
        """How many were tried; ``failed`` at our own end, for want of ports for example."""
        return {"connects": self._opened, "failed": self._failed}

    def _connect(self) -> None:
        self._opened += 1
        try:
            sock = socket_from(self._plan.source)
        except OSError:
            self._failed += 1
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._sockets.append(sock)
        try:
            sock.connect(("127.0.0.1", self._plan.port))
        except BlockingIOError:
            pass  # it waits for room in the accept queue
        except OSError:
            self._failed += 1
        if len(self._sockets) > self._most:
            self._close_oldest()

    def _close_oldest(self) -> None:
        self._sockets.popleft().close()
