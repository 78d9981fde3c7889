"""Messages on their way through a relay: as fast as they come, or at a fixed rate.

A *flow* is a connection that sends a message and those that must receive it. Three shapes:

* ``roundtrip``: a phone says it, its binary answers, the phone hears the answer;
* ``up``: a phone says it, its binary hears it;
* ``down``: a binary says it to each of its phones in one go, and all of them hear it.
"""

import selectors
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from bench.load.pairs import Home, Side, Wrong
from bench.support.meter import measure_cpu
from bench.support.wire import client_frame

SHAPES = ("roundtrip", "up", "down")
WARM_UP = 0.15
"""Seconds of each turn before the clock starts: caches, branch predictors, buffers that grow."""

_DRAIN = 15.0
"""Seconds after which a message that is still on its way counts as lost."""


class Flow:
    """One source and its sinks.

    Attributes:
        moments: when each message that is on its way was sent, or should have been.
    """

    def __init__(self, source: Side, says: bytes, sinks: int) -> None:
        self.source = source
        self.says = says
        self.moments: deque[float] = deque()
        self._heard = [0] * sinks
        self._done = 0

    def heard(self, sink: int, frames: int) -> int:
        """A sink heard so many more; how many messages all sinks have heard now and not before."""
        self._heard[sink] += frames
        done = min(self._heard)
        fresh, self._done = done - self._done, done
        return fresh


class Traffic:
    """Keeps ``window`` messages of each flow on their way, or sends ``rate`` of them a second.

    At a rate, a message's time runs from when it was due, not from when it was sent: what waits
    because the relay is slow counts (no coordinated omission).
    """

    def __init__(self, homes: list[Home], shape: str, window: int, rate: float) -> None:
        self._window = window
        self._rate = rate
        self._flows: list[Flow] = []
        self._hears: dict[Side, Callable[[int], None]] = {}
        self._latencies: list[float] = []
        self._late: list[float] = []
        self._completed = 0
        self._stopping = False
        self._scale = 1
        # epoll waits for whole milliseconds; at a rate that would be most of what is measured.
        self._selector = selectors.SelectSelector() if rate else selectors.DefaultSelector()
        for home in homes:
            getattr(self, f"_add_{shape}")(home)
        for side in self._hears:
            self._selector.register(side.sock, selectors.EVENT_READ, side)

    def _add_roundtrip(self, home: Home) -> None:
        for phone, envelope in zip(home.phones, home.envelopes, strict=True):
            self._flows.append(self._flow(phone, client_frame(home.message), [phone]))
            answer = client_frame(envelope)
            self._hears[home.binary] = partial(self._answer, home.binary, answer)

    def _add_up(self, home: Home) -> None:
        (phone,) = home.phones
        self._flows.append(self._flow(phone, client_frame(home.message), [home.binary]))

    def _add_down(self, home: Home) -> None:
        says = b"".join(map(client_frame, home.envelopes))
        self._flows.append(self._flow(home.binary, says, home.phones))
        self._scale = len(home.phones)

    def _flow(self, source: Side, says: bytes, sinks: list[Side]) -> Flow:
        flow = Flow(source, says, len(sinks))
        for number, sink in enumerate(sinks):
            self._hears[sink] = partial(self._arrived, flow, number)
        self._hears.setdefault(source, self._nothing)
        return flow

    def turn(
        self, seconds: float, pid: int, warm_up: float = WARM_UP, fewest: int = 1
    ) -> dict[str, float]:
        """Run for ``warm_up`` and then, measured, for ``seconds`` and until ``fewest`` messages of
        each flow have arrived; then wait for all that are still on their way.

        ``cpu`` is the relay's a message (of ``down``: a message and phone), ``busy`` its share of
        a core, ``generator`` our own, ``late`` how far behind its schedule the generator was
        (99th percentile).

        Raises:
            Wrong: something else arrived than must, or something did not arrive.
        """
        begin = time.perf_counter()
        self._next = begin
        if not self._rate:
            for flow in self._flows:
                self._launch(flow, self._window, begin)
        self._run(begin + warm_up)
        self._latencies.clear()
        self._late.clear()
        completed, before = self._completed, measure_cpu(pid)
        began, own = time.perf_counter(), time.process_time()
        self._run(began + seconds)
        while self._completed - completed < fewest * len(self._flows):
            if time.perf_counter() > began + seconds + _DRAIN:
                raise Wrong(f"too little arrived in {seconds + _DRAIN:g} s")
            self._run(time.perf_counter() + 0.05)
        after = measure_cpu(pid)
        took, own = time.perf_counter() - began, time.process_time() - own
        done = (self._completed - completed) * self._scale
        latencies = sorted(self._latencies)
        self._drain()
        return {
            "cpu": (after - before) / done,
            "rate": done / took,
            "p50": percentile(latencies, 0.5),
            "p99": percentile(latencies, 0.99),
            "p999": percentile(latencies, 0.999),
            "longest": latencies[-1],
            "busy": (after - before) / took,
            "generator": own / took,
            "late": percentile(sorted(self._late), 0.99),
        }

    def close(self) -> None:
        """Watch the sockets no more; they stay open."""
        self._selector.close()

    def _run(self, until: float) -> None:
        while (now := time.perf_counter()) < until:
            wait = until - now
            if self._rate and not self._stopping:
                wait = min(wait, self._send_what_is_due(now))
            self._serve(wait)

    def _serve(self, wait: float) -> None:
        for key, events in self._selector.select(wait):
            side = key.data
            if events & selectors.EVENT_WRITE and side.push():
                self._selector.modify(side.sock, selectors.EVENT_READ, side)
            if events & selectors.EVENT_READ and (frames := side.heard()):
                self._hears[side](frames)

    def _send_what_is_due(self, now: float) -> float:
        """Returns the seconds until there is more to send."""
        while self._next <= now:
            flow = self._flows[0]
            self._flows.append(self._flows.pop(0))
            self._late.append(now - self._next)
            self._launch(flow, 1, self._next)
            self._next += 1 / self._rate
        return max(0.0, self._next - time.perf_counter())

    def _drain(self) -> None:
        self._stopping = True
        deadline = time.perf_counter() + _DRAIN
        while left := sum(len(flow.moments) for flow in self._flows):
            if time.perf_counter() > deadline:
                raise Wrong(f"{left} messages did not arrive")
            self._serve(0.1)
        self._stopping = False

    def _launch(self, flow: Flow, count: int, moment: float) -> None:
        flow.moments.extend([moment] * count)
        self._say(flow.source, flow.says * count)

    def _arrived(self, flow: Flow, sink: int, frames: int) -> None:
        count = flow.heard(sink, frames)
        if not count:
            return
        now = time.perf_counter()
        self._completed += count
        self._latencies += [now - flow.moments.popleft() for _ in range(count)]
        if not (self._rate or self._stopping):
            self._launch(flow, count, now)

    def _answer(self, side: Side, answer: bytes, frames: int) -> None:
        self._say(side, answer * frames)

    def _nothing(self, frames: int) -> None:
        raise Wrong(f"{frames} frames for a connection that must receive none")

    def _say(self, side: Side, data: bytes) -> None:
        if not side.say(data):
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(side.sock, both, side)


def percentile(ordered: list[float], share: float) -> float:
    """The value below which ``share`` of them are; 0.0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
