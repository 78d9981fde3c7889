"""Checks whether the binary that holds a server-id is alive, when another binary claims it.

See *a contested server-id* in the protocol. The binary that holds the server-id is the *incumbent*,
and the binaries that claim it are *newcomers*. The incumbent gets one ping with a random payload,
however many newcomers wait. If it echoes that payload in time, it keeps the server-id, and all
newcomers are refused. If it does not, or if its connection ends, the latest newcomer that is still
connected gets the server-id. The newcomers are not read until the check ends.

The ping is sent after the bytes that the kernel already holds for the incumbent. An incumbent that
sends bytes, or whose kernel acknowledges bytes that were sent before the ping, therefore gets more
time, up to a limit. Acknowledgements of the ping and of later bytes do not count, because the
kernel of a frozen process acknowledges them, too.
"""

import os
from collections.abc import Callable
from typing import Final

from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.sockets import TcpBytes
from fastrelay.routing.binary import Binary

_MOST_WAITS: Final = 3
"""How often the timeout may pass if the incumbent shows signs of life."""

_PAYLOAD_BYTES: Final = 16


class LivenessCheck:
    """One check of one incumbent.

    Args:
        incumbent: the binary that holds the server-id.
        wheel: schedules the timeout.
        timeout: seconds that the incumbent has to answer, and to show another sign of life.
        settle: called once with whether the incumbent is alive, and with the newcomers in order of
            arrival, each with the bytes that came after its request head.
    """

    __slots__ = (
        "_before_ping",
        "_incumbent",
        "_newcomers",
        "_payload",
        "_seen",
        "_settle",
        "_timeout",
        "_waits",
        "_wheel",
        "wheel_tick",
    )

    def __init__(
        self,
        incumbent: Binary,
        wheel: TimerWheel,
        timeout: float,
        settle: Callable[[bool, dict[Binary, bytes]], None],
    ) -> None:
        self._incumbent = incumbent
        self._newcomers: dict[Binary, bytes] = {}
        self._payload = os.urandom(_PAYLOAD_BYTES)
        self._seen: TcpBytes | None = None
        self._before_ping = 0
        self._settle = settle
        self._timeout = timeout
        self._waits = 1
        self._wheel = wheel
        self.wheel_tick = 0
        incumbent.observer = self
        wheel.after(self, timeout)

    def ask(self) -> None:
        """Ping the incumbent. Add a newcomer first: a failing ping ends the check at once."""
        if self._incumbent.observer is not self:
            return  # adding a newcomer has ended the check
        connection = self._incumbent.connection
        self._seen = connection.tcp_bytes()
        if self._seen is not None:
            self._before_ping = self._seen.acknowledged + connection.unacknowledged()
        connection.ping(self._payload)

    def add(self, newcomer: Binary, initial_data: bytes) -> None:
        """Add a newcomer; ``initial_data`` is what it has sent behind its request head."""
        self._newcomers[newcomer] = initial_data
        newcomer.connection.pause_reading()
        newcomer.connection.hold_undecoded(len(initial_data))  # may end the incumbent

    def discard(self, newcomer: Binary) -> bool:
        """Remove a binary whose connection has ended; returns whether it was a newcomer."""
        return self._newcomers.pop(newcomer, None) is not None

    def answered(self, payload: bytes) -> None:
        """The incumbent sent a pong; it counts if it echoes this check's ping.

        An incumbent that has ended its side of TCP after the pong counts as dead.
        """
        if payload == self._payload:
            self._end(alive=not self._incumbent.connection.peer_has_left())

    def gone(self) -> None:
        """The incumbent's connection has ended."""
        self._end(alive=False)

    def on_timer(self) -> None:
        """The incumbent has not answered in time: give it more if it has shown signs of life."""
        if self._waits < _MOST_WAITS and self._has_shown_life():
            self._waits += 1
            self._wheel.after(self, self._timeout)
        else:
            self._end(alive=False)

    def _has_shown_life(self) -> bool:
        seen, told = self._seen, self._incumbent.connection.tcp_bytes()
        if seen is None or told is None:
            return False
        self._seen = told
        taken = min(told.acknowledged, self._before_ping) > seen.acknowledged
        return taken or told.received > seen.received

    def _end(self, *, alive: bool) -> None:
        if self._incumbent.observer is not self:
            return  # it has ended already: the incumbent's connection failed while it was asked
        self._wheel.cancel(self)
        self._incumbent.observer = None
        newcomers, self._newcomers = self._newcomers, {}
        self._settle(alive, newcomers)
