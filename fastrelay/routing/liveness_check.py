"""Checks whether the binary that holds a server-id is alive, when another binary claims it.

See *claim* in the protocol's registry. The binary that holds the server-id is the incumbent, those
that claim it are newcomers. The incumbent is pinged once, however many newcomers wait. If its pong
comes in time, it keeps the server-id and all newcomers are refused. If it does not, or if the
incumbent's connection ends, the first newcomer that is still connected gets the server-id and the
others are refused. Newcomers are not read meanwhile.
"""

from collections.abc import Callable

from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.routing.binary import Binary


class LivenessCheck:
    """One check of one incumbent.

    Args:
        incumbent: the binary that holds the server-id.
        wheel: schedules the timeout.
        timeout: seconds that the incumbent has to answer.
        settle: called once with whether the incumbent is alive and with the newcomers in the order
            they came, each with the bytes that came behind its request head.
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
        """Ping the incumbent. Add a newcomer first: a failing ping ends the check at once."""
        self._incumbent.connection.ping()

    def add(self, newcomer: Binary, initial_data: bytes) -> None:
        """Add a newcomer; ``initial_data`` is what it has sent behind its request head."""
        newcomer.connection.pause_reading()
        newcomer.connection.hold_undecoded(len(initial_data))
        self._newcomers[newcomer] = initial_data

    def discard(self, newcomer: Binary) -> bool:
        """Remove a binary whose connection has ended; returns whether it was a newcomer."""
        return self._newcomers.pop(newcomer, None) is not None

    def answered(self) -> None:
        """The incumbent sent a pong."""
        self._end(alive=True)

    def gone(self) -> None:
        """The incumbent's connection has ended."""
        self._end(alive=False)

    def on_timer(self) -> None:
        """The incumbent has not answered in time."""
        self._end(alive=False)

    def _end(self, *, alive: bool) -> None:
        self._wheel.cancel(self)
        self._incumbent.observer = None
        newcomers, self._newcomers = self._newcomers, {}
        self._settle(alive, newcomers)
