"""The deadlines of one connection: pure, with the clock passed in.

All are times of the event loop in seconds, and 0.0 while they do not run. Only the earliest one is
scheduled in the timer wheel.
"""

from enum import Enum, auto
from typing import Final

from fastrelay.config.settings import Intervals

_MOST_MOVED: Final = 30.0
"""The most seconds by which all stalls together may move the deadline of one message. Otherwise a
sender that can make the relay stall could keep an incomplete message for as long as it likes."""


class Due(Enum):
    """A deadline that has passed, and what the connection has to do about it."""

    CLOSE = auto()
    """The close handshake has not ended in time: drop the socket."""
    WRITE = auto()
    """Check whether the peer has taken any byte of what waits for it."""
    MESSAGE = auto()
    """A message has begun and has not ended in time: fail the connection."""
    PONG = auto()
    """The peer has not answered a ping in time: fail the connection."""
    PING = auto()
    """Send a ping."""


class Deadlines:
    """The times by which something must have happened, or at which something must be done.

    Attributes:
        close: by then the close handshake must have ended, and the socket must be closed.
        message: by then the message that has begun must be complete.
        message_moved: the seconds by which stalls have moved the deadline of the message.
        ping: at this time the next ping is sent.
        pong: by then the last ping must have been answered.
        write: by then the peer must have acknowledged one of the bytes that wait for it.
    """

    __slots__ = ("close", "message", "message_moved", "ping", "pong", "write")

    def __init__(self, ping: float) -> None:
        self.close = 0.0
        self.message = self.message_moved = 0.0
        self.ping = ping
        self.pong = 0.0
        self.write = 0.0

    def earliest(self) -> float:
        """The earliest deadline that runs; there always is one."""
        times = (self.close, self.write, self.message, self.pong or self.ping)
        return min(time for time in times if time)

    def begin_message(self, due: float) -> None:
        """A message has begun, which must have ended at ``due``."""
        self.message, self.message_moved = due, 0.0

    def stalled(self, seconds: float) -> None:
        """The relay has stalled, and the clock was set back by ``seconds``.

        Limit by how much this moves the deadline of a message. All other deadlines move by the
        whole stall.
        """
        if self.message:
            granted = min(seconds, _MOST_MOVED - self.message_moved)
            self.message_moved += granted
            self.message -= seconds - granted

    def restart_after_pause(self, now: float, intervals: Intervals) -> None:
        """Restart the deadlines for what the peer sends, because the relay did not read it."""
        if self.pong:
            self.pong = now + intervals.pong
        if self.message:
            self.message = now + intervals.message

    def take_due(self, now: float, intervals: Intervals, *, paused: bool) -> list[Due]:
        """The deadlines that have passed, in the order to act on them; sets the next ones.

        Args:
            paused: the peer is not read, so what it has sent cannot be seen.
        """
        if self.close and now >= self.close:
            return [Due.CLOSE]
        found = []
        if self.write and now >= self.write:
            self.write = 0.0
            found.append(Due.WRITE)
        if self.message and now >= self.message:
            self.message = now + intervals.message if paused else 0.0
            if not paused:
                found.append(Due.MESSAGE)
        if self.pong and now >= self.pong:
            self.pong = now + intervals.pong if paused else 0.0
            if not paused:
                found.append(Due.PONG)
        elif not self.pong and now >= self.ping:
            self.ping = now + intervals.ping
            if not self.close:
                self.pong = now + intervals.pong
                found.append(Due.PING)
        return found
