"""The deadlines of one connection: pure, with the clock passed in.

All are loop times in seconds, 0.0 when not running. The earliest is the connection's one
appointment with the timer wheel.
"""

from enum import Enum, auto

from fastrelay.config.settings import Intervals


class Due(Enum):
    """A deadline that has passed, and what is due."""

    CLOSE = auto()
    """The peer has not ended the connection after the close frames: drop the socket."""
    WRITE = auto()
    """Look whether the peer has taken any byte of what waits."""
    MESSAGE = auto()
    """A message that was begun has not ended."""
    PONG = auto()
    """The peer has not answered a ping."""
    PING = auto()
    """Send a ping."""


class Deadlines:
    """Loop times by which something must have happened.

    Attributes:
        close: the peer ends the connection after the close frames.
        message: the message that was begun ends.
        ping: the next ping is sent.
        pong: the ping that was sent is answered.
        write: the peer takes a byte of what waits.
    """

    __slots__ = ("close", "message", "ping", "pong", "write")

    def __init__(self, ping: float) -> None:
        self.close = 0.0
        self.message = 0.0
        self.ping = ping
        self.pong = 0.0
        self.write = 0.0

    def earliest(self) -> float:
        """The next time to look at them; there always is one."""
        times = (self.close, self.write, self.message, self.pong or self.ping)
        return min(time for time in times if time)

    def restart_after_pause(self, now: float, intervals: Intervals) -> None:
        """Give a peer that was not read meanwhile its whole time again."""
        if self.pong:
            self.pong = now + intervals.pong
        if self.message:
            self.message = now + intervals.message

    def take_due(self, now: float, intervals: Intervals, *, paused: bool) -> list[Due]:
        """What has passed, in the order in which it is to be acted on; set the next times.

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
