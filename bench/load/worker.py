"""A load generator's process: one command a line on stdin, one line of figures on stdout, as JSON.

    {"do": "roundtrip", "conns": 16, "size": 256, "window": 1, "rate": 0.0, "seconds": 1.0}
    {"do": "connect", "count": 1000}    {"do": "churn", "rate": 25.0, "seconds": 1.0}
    {"do": "storm"}    {"do": "drop"}
    {"do": "open", "shape": "roundtrip", "conns": 16, "size": 256, "window": 1, "rate": 0.0}
    {"do": "turn", "seconds": 0.05, "warm_up": 0.01, "fewest": 4}    {"do": "close"}

It ends when its stdin does, so it cannot outlive the process that started it. Driven by
:class:`bench.support.generator.Generator`.
"""

import argparse
import json
import os
import selectors
import signal
import socket
import sys

from bench.load.idle import Crowd
from bench.load.pairs import Home, Line, Wrong, over, through
from bench.load.traffic import SHAPES, WARM_UP, Traffic

FAN_OUT = 16
"""Phones of a binary that speaks to them all: as many as it may have."""


class Worker:
    """Drives one relay.

    Args:
        backend: the port a byte pipe's far end is expected on; 0 for a relay.
    """

    def __init__(self, line: Line, pid: int, backend: int) -> None:
        self._line = line
        self._pid = pid
        self._backend: socket.socket | None = None
        if backend:
            self._backend = socket.create_server(("127.0.0.1", backend))
        self._homes: list[Home] = []
        self._traffic: Traffic | None = None
        self.crowd = Crowd(line, pid)

    def do(self, command: dict[str, object]) -> dict[str, float]:
        """Carry out one command.

        Raises:
            Wrong: the relay did something else than it must.
        """
        name = str(command.pop("do"))
        if name in SHAPES:
            seconds = command.pop("seconds")
            self.open(name, **command)  # type: ignore[arg-type]
            try:
                return self.turn(seconds)  # type: ignore[arg-type]
            finally:
                self.close()
        if name in {"open", "turn", "close"}:
            return getattr(self, name)(**command) or {"done": 1.0}
        if name not in {"connect", "storm", "churn", "drop"}:
            raise Wrong(f"the load generator has no command {name}")
        found: dict[str, float] = getattr(self.crowd, name)(**command)
        return found

    def open(self, shape: str, conns: int, size: int, window: int, rate: float) -> None:
        """Connect what the turns that follow use, within the 30 s before the relay pings it."""
        self.close()
        for _ in range(conns):
            if self._backend is not None:
                self._homes.append(over(self._line, self._backend, size))
            else:
                phones = FAN_OUT if shape == "down" else 1
                self._homes.append(through(self._line, size, phones))
        self._traffic = Traffic(self._homes, shape, window, rate)

    def turn(self, seconds: float, warm_up: float = WARM_UP, fewest: int = 1) -> dict[str, float]:
        """One turn of the traffic that is open."""
        if self._traffic is None:
            raise Wrong("no traffic is open")
        return self._traffic.turn(seconds, self._pid, warm_up, fewest)

    def close(self) -> None:
        """Close the connections of the traffic."""
        if self._traffic is not None:
            self._traffic.close()
            self._traffic = None
        for home in self._homes:
            home.close()
        self._homes.clear()


def main() -> int:
    """Obey until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.load.worker", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--ca-file", default="")
    parser.add_argument("--backend", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one.
    worker = Worker(Line(options.port, options.ca_file), options.pid, options.backend)
    worker.crowd.selector.register(0, selectors.EVENT_READ)
    pending = b""
    while True:
        worker.crowd.serve(1.0)
        if not any(key.fd == 0 for key, _ in worker.crowd.selector.select(0)):
            continue
        more = os.read(0, 65536)
        if not more:
            return 0
        *lines, pending = (pending + more).split(b"\n")
        for line in lines:
            try:
                answer: dict[str, object] = dict(worker.do(json.loads(line)))
            except (Wrong, OSError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
