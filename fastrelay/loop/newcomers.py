"""When connections are accepted, TLS handshakes made and request heads read: in a slice of time.

Each of them is cheap for the peer and costs the relay some microseconds, or nearly a millisecond
for a TLS handshake. So they share one slice of each iteration of the loop, and traffic has the
rest. Heads and handshakes may use half of it: however many of them come, connections go on being
accepted. What does not fit waits for the next iteration, in the order of arrival.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator

from fastrelay.loop.internal_errors import report
from fastrelay.loop.slice import TimeSlice

Work = Callable[[], None]


class Newcomers:
    """Admits the work of connections that are not upgraded yet.

    A connection's first request is served before further ones: of what waits, every other piece
    at least is of a connection that has not been served. So connections that send one request
    behind another do not make a newcomer wait for all of them.

    Args:
        whole: what accepting, heads and handshakes may take together.
        half: what heads and handshakes may take of that.
        next_iteration: calls back in the loop's next iteration.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        whole: TimeSlice,
        half: TimeSlice,
        next_iteration: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._whole = whole
        self._half = half
        self._call_in_next_iteration = next_iteration
        self._clock = clock
        self._first: deque[Work] = deque()
        self._further: deque[Work] = deque()
        self._is_scheduled = False
        self._is_running = False

    def accept(self, accept_one: Callable[[], bool]) -> None:
        """Call ``accept_one`` at least once, until it returns ``False`` or the time is over."""
        self._schedule()
        started_at = self._clock()
        while accept_one() and self._whole.left(self._clock() - started_at):
            pass
        self._whole.spend(self._clock() - started_at)

    def run(self, work: Work, *, is_first: bool = True) -> bool:
        """Do ``work`` now if there is time for it and none waits before it; returns whether."""
        if self._is_running:
            work()  # a part of what is being done: a request behind its TLS handshake
            return True
        if self._first or (self._further and not is_first) or not self._half.left():
            return False
        self._schedule()
        self._do(work)
        return True

    def queue(self, work: Work, *, is_first: bool = True) -> None:
        """Do ``work`` in a later iteration, when its turn comes."""
        (self._first if is_first else self._further).append(work)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._call_in_next_iteration(self._begin_iteration)

    def _begin_iteration(self) -> None:
        """Give the time again, and work off what waits: one piece at least."""
        self._is_scheduled = False
        self._whole.begin_iteration()
        self._half.begin_iteration()
        if self._first or self._further:
            self._schedule()  # what they spend is given again in the next iteration
        # What is queued meanwhile belongs to the next iteration.
        for work in self._turns(len(self._first), len(self._further)):
            try:
                self._do(work)
            except Exception as error:
                report(error)  # it must not cost the others their turn
            if not self._half.left():
                break

    def _turns(self, first: int, further: int) -> Iterator[Work]:
        """Take so many pieces of both kinds, in turns while there are both."""
        while first or further:
            if first:
                first -= 1
                yield self._first.popleft()
            if further:
                further -= 1
                yield self._further.popleft()

    def _do(self, work: Work) -> None:
        self._is_running = True
        started_at = self._clock()
        try:
            work()
        finally:
            seconds = self._clock() - started_at
            self._half.spend(seconds)
            self._whole.spend(seconds)
            self._is_running = False
