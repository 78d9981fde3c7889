"""The whole way of an upgrade through our code, without sockets: from head to session."""

import asyncio
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.support.wire import binary_handshake, phone_handshake
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


class _Transport:
    """Takes what it is told to write, and nothing of it goes anywhere."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.written: list[bytes] = []
        self.write = self.written.append

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0


def _site(loop: asyncio.AbstractEventLoop) -> Site:
    settings = Settings(listen=Address("127.0.0.1", 0))
    intervals, limits, metrics = settings.intervals, settings.limits, make_metrics()
    log = Log(len)  # made, and read by nobody
    wheel = TimerWheel(loop, intervals.tick)
    waker = make_waker(settings, metrics.registry, log)
    registry: Registry[Any, Any] = Registry(limits.phones)
    board = Switchboard(registry, wheel, intervals, limits, metrics, waker, log)
    live: LiveConnections[Connection] = LiveConnections(limits.connections)
    conditions = Conditions(wheel, intervals, limits.message_bytes, live)
    routes = Doorway(board, conditions, live, None, metrics, log).routes()
    return Site(
        routes, socket_peer, wheel, limits.head_bytes, intervals.head, intervals.linger, Lobby(10)
    )


def _upgrade(site: Site, head: bytes) -> _Transport:
    transport, protocol = _Transport(), HttpProtocol(site, "198.51.100.1")
    protocol.connection_made(transport)  # type: ignore[arg-type]
    protocol.data_received(head)
    return transport


@pytest.mark.benchmark(group="upgrade, the whole way")
def test_a_phone_comes_and_goes(benchmark: BenchmarkFixture) -> None:
    loop = asyncio.new_event_loop()
    site = _site(loop)
    binary = _upgrade(site, binary_handshake("bench"))
    head = phone_handshake("bench")

    def cycle() -> _Transport:
        phone = _upgrade(site, head)
        phone.protocol.connection_lost(None)
        binary.written.clear()  # the close notice
        return phone

    assert benchmark(cycle).written[0].startswith(b"HTTP/1.1 101 ")
    site.wheel.close()
    loop.close()
