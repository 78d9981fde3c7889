"""The limits of one call to another server: seconds until a deadline, and received bytes."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_PAUSE: Final = 0.0002
"""Seconds for which a thread lets go of the interpreter after each piece that it has received."""

_turn: Final = threading.Lock()
"""Held by the one thread that works on what another server sent.

All threads share the interpreter's lock with the event loop. If 32 answers were parsed at once, the
loop would wait for up to 32 threads each time it wants to run; so it waits for one at most.
"""


class TooMuchReceived(OSError):
    """The other server sent more bytes than the call may receive."""


class Allowance:
    """The limits of one call. They are enforced wherever bytes are received or sent.

    Args:
        seconds: until the deadline.
        received: the bytes that may be received, TLS included.
    """

    def __init__(self, seconds: float, received: int) -> None:
        self._deadline = time.monotonic() + seconds
        self._left = received

    def remaining(self) -> float:
        """The seconds until the deadline, more than 0.

        Raises:
            TimeoutError: the deadline has passed.
        """
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the answer was not complete in time")
        return seconds

    def spend(self, received: int) -> None:
        """Count received bytes.

        Raises:
            TooMuchReceived: they are more than were left.
        """
        self._left -= received
        if self._left < 0:
            raise TooMuchReceived("the answer is too long")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other thread works on an answer, and then keep other threads waiting."""
        if not _turn.acquire(timeout=self.remaining()):
            raise TimeoutError("the answer was not complete in time")
        try:
            yield
        finally:
            _turn.release()

    @contextmanager
    def waiting(self) -> Iterator[float]:
        """Within :meth:`turn`: let others have the turn while this thread waits for the network.

        Yields the seconds until the deadline.
        """
        _turn.release()
        try:
            yield self.remaining()
            # A receive that does not block gives the interpreter back too briefly for the event
            # loop's thread to wake up and take it.
            time.sleep(_PAUSE)
        finally:
            _turn.acquire()
