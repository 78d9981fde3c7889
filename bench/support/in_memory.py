"""The relay's own code without sockets, for what is measured part by part."""

import asyncio
from typing import Any

from fastrelay.doorway import Doorway
from fastrelay.http.client_address import socket_peer
from fastrelay.http.protocol import HttpProtocol, Site
from fastrelay.limits.caps import LiveConnections, Lobby
from fastrelay.log import Log
from fastrelay.metrics import make_metrics
from fastrelay.push.waker import make_waker
from fastrelay.routing.registry import Registry
from fastrelay.routing.switchboard import Switchboard
from fastrelay.settings import Address, Settings
from fastrelay.timers import TimerWheel
from fastrelay.websocket.conditions import Conditions
from fastrelay.websocket.connection import Connection


class Transport:
    """Takes what it is told to write, and nothing of it goes anywhere."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.written: list[bytes] = []
        self.write = self.written.append
        self.writelines = self.written.extend

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0


def make_site(loop: asyncio.AbstractEventLoop) -> Site:
    """The two endpoints with everything behind them, metrics and log included."""
    settings = Settings(listen=Address("127.0.0.1", 0))
    intervals, limits, metrics = settings.intervals, settings.limits, make_metrics()
    log = Log(len)  # Lines are made and thrown away.
    wheel = TimerWheel(loop, intervals.tick)
    waker = make_waker(settings, metrics.registry, log)
    registry: Registry[Any, Any] = Registry(limits.phones)
    board = Switchboard(registry, wheel, intervals, limits, metrics, waker, log)
    live: LiveConnections[Connection] = LiveConnections(limits.connections)
    conditions = Conditions(wheel, intervals, limits.message_bytes, live)
    routes = Doorway(board, conditions, live, None, metrics, log).routes()
    return Site(
        routes,
        socket_peer,
        wheel,
        loop.call_soon,
        limits.head_bytes,
        intervals.head,
        intervals.linger,
        Lobby(10),
    )


def upgrade(site: Site, head: bytes) -> Transport:
    """A connection that has sent the request ``head`` and was upgraded."""
    transport, protocol = Transport(), HttpProtocol(site, "198.51.100.1")
    protocol.connection_made(transport)  # type: ignore[arg-type]
    protocol.data_received(head)
    return transport
