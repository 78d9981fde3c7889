"""A conflicting claim asks whether the incumbent is still alive (protocol, registry, *claim*).

The incumbent is pinged once however many newcomers wait. A pong in time keeps the slot and all
newcomers are refused; silence, or the incumbent's end, gives it to the first newcomer that is
still there, and the others are refused. Newcomers are not read meanwhile.
"""

from collections.abc import Callable

from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.routing.binary import Binary


class LivenessCheck:
    """One question to one incumbent.

    Args:
        incumbent: the binary that holds the server-id.
        wheel: for the time it has.
        timeout: seconds until silence counts as an answer.
        settle: called once with whether the incumbent lives and the newcomers in the order they
            came, each with the bytes that came behind its request head.
    """

    __slots__ = ("_incumbent", "_newcomers", "_settle", "_wheel", "wheel_tick")

    def __init__(
        self,
        incumbent: Binary,
        wheel: TimerWheel,
        timeout: float,
        settle: Callable[[bool, dict[Binary, bytes]], None],
    ) -> None:
        self._incumbent = incumbent
        self._newcomers: dict[Binary, bytes] = {}
        self._settle = settle
        self._wheel = wheel
        self.wheel_tick = 0
        incumbent.observer = self
        wheel.after(self, timeout)

    def ask(self) -> None:
        """Ping the incumbent, once. A newcomer must be there: the incumbent may be gone at once."""
        self._incumbent.connection.ping()

    def add(self, newcomer: Binary, initial_data: bytes) -> None:
        """Add a newcomer that wants the slot; ``initial_data`` is what it has sent already."""
        newcomer.connection.pause_reading()
        newcomer.connection.hold_undecoded(len(initial_data))
        self._newcomers[newcomer] = initial_data

    def discard(self, newcomer: Binary) -> bool:
        """A connection has ended; returns whether it was one of the newcomers."""
        return self._newcomers.pop(newcomer, None) is not None

    def answered(self) -> None:
        """The incumbent sent a pong."""
        self._end(alive=True)

    def gone(self) -> None:
        """The incumbent's connection has ended."""
        self._end(alive=False)

    def on_timer(self) -> None:
        """The incumbent stayed silent."""
        self._end(alive=False)

    def _end(self, *, alive: bool) -> None:
        self._wheel.cancel(self)
        self._incumbent.observer = None
        newcomers, self._newcomers = self._newcomers, {}
        self._settle(alive, newcomers)
