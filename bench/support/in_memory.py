"""The relay's own code without sockets, for what is measured part by part."""

import asyncio
from typing import Any

from fastrelay.config.settings import Address, Settings
from fastrelay.http.client_address import socket_peer
from fastrelay.http.connection import HttpProtocol, Site
from fastrelay.log import Log
from fastrelay.loop.newcomers import Newcomers
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.metrics import make_metrics
from fastrelay.policy.caps import LiveConnections
from fastrelay.policy.held_bytes import HeldBytes
from fastrelay.policy.pending import PendingConnections
from fastrelay.policy.registry import Registry
from fastrelay.push.fingerprint import Fingerprints
from fastrelay.push.waker import make_waker
from fastrelay.routing.context import RoutingContext
from fastrelay.routing.router import Router
from fastrelay.server.address_cap import capped_requests
from fastrelay.server.admitted import Role
from fastrelay.server.routes import public_routes
from fastrelay.websocket.connection import Connection
from fastrelay.websocket.context import ConnectionContext


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
    waker = make_waker(settings, metrics.counters.wakes, log, Fingerprints())
    registry: Registry[Any, Any] = Registry(limits.phones)
    held = HeldBytes(limits.held_bytes)
    shared = RoutingContext(limits, metrics.counters, held, waker, log)
    router = Router(registry, wheel, intervals, shared, metrics.upgrades)
    live: LiveConnections[Connection] = LiveConnections(
        limits.connections, limits.connections_per_address
    )
    context = ConnectionContext(wheel, intervals, limits.message_bytes, live, held)
    is_capped, send_buffers = capped_requests(settings), dict.fromkeys(Role, 0)
    routes = public_routes(router, context, live, None, is_capped, metrics, log, send_buffers)
    return Site(
        routes,
        socket_peer,
        wheel,
        Newcomers(1e9, loop.call_soon),
        limits.head_bytes,
        intervals.head,
        intervals.linger,
        PendingConnections(10),
        frozenset(routes),
    )


def upgrade(site: Site, head: bytes) -> Transport:
    """A connection that has sent the request ``head`` and was upgraded."""
    transport, protocol = Transport(), HttpProtocol(site, "198.51.100.1")
    protocol.connection_made(transport)  # type: ignore[arg-type]
    protocol.data_received(head)
    return transport
