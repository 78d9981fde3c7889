"""Connections that say nothing: what one costs in memory, and what its upgrade costs.

    python -m bench.load.idle --port P --pid N --count 5000 [--hold]

With ``--hold`` it stays connected until its stdin ends.
"""

import argparse
import json
import socket
import sys
import time
from itertools import islice

from bench.load.pairs import Line, Wrong
from bench.support.meter import measure
from bench.support.wire import binary_handshake, phone_handshake

PHONES = 15
"""Of each binary."""

WAVE = 64
"""Upgrades on their way at once."""

_SETTLE = 0.5


def connect(line: Line, count: int, first: int = 0) -> list[socket.socket]:
    """``count`` connections: binaries, then their phones, in waves as after a restart."""
    server_ids = range(first, first + -(-count // (PHONES + 1)))
    hellos = [binary_handshake(f"idle-{number}") for number in server_ids]
    phones = (phone_handshake(f"idle-{n}") for n in server_ids for _ in range(PHONES))
    hellos += islice(phones, count - len(hellos))
    sockets: list[socket.socket] = []
    for begin in range(0, count, WAVE):
        wave = [(line.dial(), hello) for hello in hellos[begin : begin + WAVE]]
        for sock, hello in wave:
            sock.sendall(hello)
        for sock, _ in wave:
            line.upgraded(sock)
            sockets.append(sock)
    return sockets


def main() -> int:
    """Connect and measure; prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.load.idle")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--ca-file", default="")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--hold", action="store_true")
    options = parser.parse_args()
    line = Line(options.port, options.ca_file)
    try:
        kept = connect(line, PHONES + 1, first=10**6)  # what is made once is made before the start
        time.sleep(_SETTLE)
        before, began = measure(options.pid), time.perf_counter()
        kept += connect(line, options.count)
        seconds = time.perf_counter() - began
    except Wrong as wrong:
        print(json.dumps({"error": str(wrong)}))
        return 1
    time.sleep(_SETTLE)
    after = measure(options.pid)
    figures = {
        "memory": (after.resident - before.resident) / options.count,
        "cpu_upgrade": (after.cpu - before.cpu) / options.count,
        "seconds": seconds,
    }
    print(json.dumps(figures), flush=True)
    if options.hold:
        sys.stdin.read()
    for sock in kept:
        sock.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
