"""Two relays of one process that share server-ids evenly, against one: what a second process costs.

What ``bench workers`` shows beyond that is what workers add: handing over, and counting together.
"""

import re
import shlex
import socket
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.compare.plan import FOUR
from bench.load.idle import Crowd
from bench.load.pairs import Line, upgraded
from bench.load.worker import Worker
from bench.support.ports import free_port
from bench.support.relay import OURS, running, wait_until_it_listens
from bench.workers.command import Ratio

_PAIRS: Final = 12
_UPGRADES: Final = 300
_SECONDS: Final = 0.15
_SERVER_ID: Final = re.compile(rb"(?i)x-pyrycode-server: (\S+)")


class _Lines(Line):
    """Connections go to the relay that a hash of their server-id names."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(ports[0])
        self._parts = [Line(port) for port in ports]

    def of(self, hello: bytes) -> Line:
        """The line to the relay of the server-id in ``hello``."""
        found = _SERVER_ID.search(hello)
        assert found is not None
        return self._parts[zlib.crc32(found[1]) % len(self._parts)]

    def dial(self, hello: bytes = b"") -> socket.socket:
        return self.of(hello).dial(hello)


class _SharedCrowd(Crowd):
    def __init__(self, lines: _Lines, pid: int) -> None:
        super().__init__(lines, pid)
        self._lines = lines

    def _upgrade(self, hellos: list[bytes]) -> None:
        wave = [(self._lines.of(hello).dial(), hello) for hello in hellos]
        for sock, hello in wave:
            sock.sendall(hello)
        for sock, hello in wave:
            upgraded(sock)
            self._hold(sock, hello)


@contextmanager
def _relays(count: int) -> Iterator[Worker]:
    """So many relays, which are children of one shell, and what drives them."""
    with ExitStack() as stack:
        ports = [free_port() for _ in range(count)]
        commands = [OURS.format(port=port, metrics=free_port()) for port in ports[1:]]
        script = " & ".join([*commands, OURS, "wait"])
        relay = stack.enter_context(running(f"sh -c {shlex.quote(script)}"))
        ports[0] = relay.port
        for port in ports:
            wait_until_it_listens(port)
        lines = _Lines(ports)
        worker = Worker(lines, relay.pid, 0)
        worker.crowd = _SharedCrowd(lines, relay.pid)
        yield worker


def main() -> None:
    """Print the CPU of both, and the ratio."""
    with _relays(1) as one, _relays(2) as two:
        for load in FOUR:
            command = {"do": load.shape, **load.arguments(), "seconds": _SECONDS}
            _print(load.label, [(_cpu(one, command), _cpu(two, command)) for _ in range(_PAIRS)])
        _print("upgrade", [(_upgrades(one), _upgrades(two)) for _ in range(_PAIRS)])


def _print(label: str, pairs: list[tuple[float, float]]) -> None:
    one, two = map(list, zip(*pairs, strict=True))
    print(f"  {label:<20} {Ratio(one, two)}")


def _cpu(worker: Worker, command: dict[str, object]) -> float:
    return worker.do(dict(command))["cpu"]


def _upgrades(worker: Worker) -> float:
    cpu = worker.crowd.connect(_UPGRADES)["cpu_upgrade"]
    worker.crowd.drop()
    return cpu
