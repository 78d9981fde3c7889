"""What an upgrade costs, by phase: CPU time of the relay's thread between the phases' borders.

A phase's time is its own: what another phase inside it takes is not counted twice. What no phase
claims is the loop, the kernel's part of reads and of the accept, and the making of a transport.
"""

import functools
import importlib
import time
from collections.abc import Callable
from typing import Any, Final

from bench.compare.contenders import workshop
from bench.compare.turns import fresh
from bench.profile.inside import instrumented

PHASES: Final = {
    "accept": ("fastrelay.net.listener:Listener._accept",),
    "begin a transport": ("fastrelay.net.listener:Listener._open",),
    "HTTP protocol": (
        "fastrelay.http.connection:HttpProtocol.__init__",
        "fastrelay.http.connection:HttpProtocol.connection_made",
        "fastrelay.http.connection:HttpProtocol.data_received",
    ),
    "h11": ("h11:Connection.__init__", "h11:Connection.receive_data", "h11:Connection.next_event"),
    "exchange": ("fastrelay.http.exchange:Exchange.__init__",),
    "gates": (
        "fastrelay.server.endpoints:Endpoint._admit",
        "fastrelay.server.endpoints:check_headers",
        "fastrelay.policy.caps:LiveConnections.has_room",
    ),
    "handshake": ("fastrelay.server.endpoints:check_handshake",),
    "write the 101": ("fastrelay.server.owner:switch_protocols",),
    "connection": ("fastrelay.websocket.connection:Connection.__init__",),
    "registration": (
        "fastrelay.routing.router:Router.admit_binary",
        "fastrelay.routing.router:Router.admit_phone",
    ),
    "log": ("fastrelay.log:Log.info",),
    "TLS": (
        "fastrelay.net.tls.layer:TlsLayer.connection_made",
        "fastrelay.net.tls.layer:TlsLayer.buffer_updated",
        "fastrelay.net.tls.layer:TlsLayer.write",
    ),
}
"""By name, the functions that are it: where each is looked up when it is called."""


class _Stopwatch:
    """Time by phase, each its own; see :class:`bench.profile.host.Instrument`."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(PHASES, 0)
        self._running: list[str] = []
        self._since = 0

    def start(self) -> None:
        for phase, places in PHASES.items():
            for place in places:
                module, _, path = place.partition(":")
                *outer, name = path.split(".")
                owner: Any = importlib.import_module(module)
                for part in outer:
                    owner = getattr(owner, part)
                setattr(owner, name, self._timed(phase, getattr(owner, name)))

    def answer(self, question: str) -> Any:
        return self._spent

    def _timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._switch(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self._switch(None)

        return timed

    def _switch(self, phase: str | None) -> None:
        """Enter ``phase``, or leave the current one; the time until now is that of the current."""
        now = time.thread_time_ns()
        if self._running:
            self._spent[self._running[-1]] += now - self._since
        if phase is None:
            self._running.pop()
        else:
            self._running.append(phase)
        self._since = time.thread_time_ns()


INSTRUMENT = _Stopwatch()


def profile_upgrade(name: str, count: int) -> str:
    """The table of ``count`` upgrades, as text."""
    with workshop() as shop:
        undisturbed = fresh(shop, name, count)["cpu_upgrade"]
        with instrumented(shop, name, "upgrade") as inside:
            generator = inside.contender.generator
            generator.run("connect", count=count // 4)
            before = inside.ask("look")
            cpu = generator.run("connect", count=count)["cpu_upgrade"] * 1e6
            after = inside.ask("look")
    phases = {name: (after[name] - before[name]) / count / 1e3 for name in PHASES}
    phases["none of these: the loop, the kernel, the transport"] = cpu - sum(phases.values())
    return "\n".join(
        [
            f"{name}, {count:,} upgrades; CPU of one:",
            "",
            *(
                f"{spent:8.1f} µs {spent / cpu:6.1%}  {phase}"
                for phase, spent in phases.items()
                if spent
            ),
            "",
            f"{cpu:8.1f} µs         in all, with the stopwatch",
            f"{undisturbed * 1e6:8.1f} µs         without it",
        ]
    )
