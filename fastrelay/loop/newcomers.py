"""Schedules accepts, TLS handshakes and request heads within one slice of time per loop iteration.

All of these cost the relay more than the peer; a TLS handshake costs the most. They therefore share
one slice of time in each iteration of the event loop, and the rest of the iteration is for frames.
Heads and handshakes may use half of the slice, so that there is always time to accept connections.
Work that does not fit waits for the next iteration, in the order of arrival.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator

from fastrelay.loop.internal_errors import report

Work = Callable[[], None]


class Newcomers:
    """Admits the work of connections that are not upgraded yet.

    The first requests of connections wait in one queue, and further requests in another. The queues
    are served alternately. A new connection therefore does not wait for all requests of connections
    that send many.

    Args:
        seconds: the time for accepts, heads and handshakes together. Only this work is measured,
            and not what else the event loop does.
        next_iteration: calls a function in the next iteration of the event loop.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        seconds: float,
        next_iteration: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._slice = seconds
        self._slice_of_heads = seconds / 2
        self._spent_accepting = self._spent_on_heads = 0.0
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
        end = started_at + self._slice - self._spent_accepting - self._spent_on_heads
        while accept_one() and self._clock() < end:
            pass
        self._spent_accepting += self._clock() - started_at

    def run(self, work: Work, *, is_first: bool = True) -> bool:
        """Do ``work`` now if time is left and no other work waits; returns whether it was done."""
        if self._is_running:
            work()  # it is a part of the running work: a request behind its TLS handshake
            return True
        if (
            self._first
            or (self._further and not is_first)
            or self._spent_on_heads >= self._slice_of_heads
        ):
            return False
        if not self._is_scheduled:
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
        """Begin the slices again, and do the work that waits: at least one piece."""
        self._is_scheduled = False
        self._spent_accepting = self._spent_on_heads = 0.0
        if not self._first and not self._further:
            return
        self._schedule()  # so that the slices begin again in the next iteration
        # Work that is queued meanwhile waits for the next iteration.
        for work in self._turns(len(self._first), len(self._further)):
            try:
                self._do(work)
            except Exception as error:
                report(error)  # the other pieces must still be done
            if self._spent_on_heads >= self._slice_of_heads:
                break

    def _turns(self, first: int, further: int) -> Iterator[Work]:
        """Take ``first`` and ``further`` pieces of the queues, alternately while both have some."""
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
            self._spent_on_heads += self._clock() - started_at
            self._is_running = False
