"""Round trips as fast as they come, or at a fixed rate; what they cost the relay.

python -m bench.load.roundtrip --port P --pid N --conns 16 --size 256 --window 1 --seconds 3
"""

import argparse
import json
import selectors
import socket
import sys
import time
from collections import deque

from bench.load.pairs import Line, Pair, Side, Wrong
from bench.support.meter import measure

_WARM_UP = 0.4
"""Seconds before the clock starts."""


class RoundTrips:
    """Keeps ``window`` messages of each pair on their way.

    Args:
        rate: round trips a second of all pairs together; 0.0: as fast as they come.
    """

    def __init__(self, pairs: list[Pair], window: int, rate: float) -> None:
        self._pairs = pairs
        self._window = window
        self._rate = rate
        self._selector = selectors.DefaultSelector()
        self._phones = {pair.phone for pair in pairs}
        self._due: dict[Side, deque[float]] = {pair.phone: deque() for pair in pairs}
        self.completed = 0
        self.latencies: list[float] = []
        for pair in pairs:
            for side in (pair.phone, pair.binary):
                self._selector.register(side.sock, selectors.EVENT_READ, side)

    def start(self) -> None:
        """Send the first messages."""
        if not self._rate:
            for pair in self._pairs:
                self._say(pair.phone, self._window, time.perf_counter())

    def run(self, seconds: float) -> None:
        """Go on for so long.

        Raises:
            Wrong: a reply was not right.
        """
        begin = time.perf_counter()
        end, sent = begin + seconds, 0
        while (now := time.perf_counter()) < end:
            wait = end - now
            if self._rate:
                due = int((now - begin) * self._rate)
                for number in range(sent, due):
                    planned = begin + number / self._rate
                    self._say(self._pairs[number % len(self._pairs)].phone, 1, planned)
                sent = due
                wait = max(0.0, begin + (sent + 1) / self._rate - now)
            for key, events in self._selector.select(wait):
                self._serve(key.data, events)

    def _serve(self, side: Side, events: int) -> None:
        if events & selectors.EVENT_WRITE and side.push():
            self._selector.modify(side.sock, selectors.EVENT_READ, side)
        if not events & selectors.EVENT_READ:
            return
        while frames := side.heard():
            now = time.perf_counter()
            if side in self._phones:
                self.completed += frames
                due = self._due[side]
                self.latencies += [now - due.popleft() for _ in range(frames)]
                if not self._rate:
                    self._say(side, frames, now)
            else:
                self._say(side, frames, 0.0)
            if not hasattr(side.sock, "pending"):
                return  # only TLS may hold more than the selector knows of

    def _say(self, side: Side, count: int, moment: float) -> None:
        if moment:
            self._due[side].extend([moment] * count)
        if not side.say(count):
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(side.sock, both, side)


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def main() -> int:
    """Run one load; prints its figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.load.roundtrip")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--backend", type=int, default=0, help="port of a byte pipe's far end")
    parser.add_argument("--ca-file", default="")
    parser.add_argument("--conns", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--window", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    line = Line(options.port, options.ca_file)
    try:
        if options.backend:
            with socket.create_server(("127.0.0.1", options.backend)) as backend:
                pairs = [Pair.over(line, backend, options.size) for _ in range(options.conns)]
        else:
            pairs = [Pair.through(line, options.size) for _ in range(options.conns)]
        trips = RoundTrips(pairs, options.window, options.rate)
        trips.start()
        trips.run(_WARM_UP)
        trips.latencies.clear()
        before, completed, began = measure(options.pid), trips.completed, time.perf_counter()
        trips.run(options.seconds)
        after, seconds = measure(options.pid), time.perf_counter() - began
    except Wrong as wrong:
        print(json.dumps({"error": str(wrong)}))
        return 1
    done = trips.completed - completed
    figures = {
        "cpu": (after.cpu - before.cpu) / max(1, done),
        "rate": done / seconds,
        "p50": percentile(trips.latencies, 0.5),
        "p99": percentile(trips.latencies, 0.99),
        "p999": percentile(trips.latencies, 0.999),
        "busy": (after.cpu - before.cpu) / seconds,
    }
    print(json.dumps(figures))
    for pair in pairs:
        pair.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
