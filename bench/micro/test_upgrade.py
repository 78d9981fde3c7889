"""The whole way of an upgrade through our code, without sockets: from head to session."""

import asyncio

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.support.in_memory import Transport, make_site, upgrade
from bench.support.wire import binary_handshake, phone_handshake


@pytest.mark.benchmark(group="upgrade, the whole way")
def test_a_phone_comes_and_goes(benchmark: BenchmarkFixture) -> None:
    loop = asyncio.new_event_loop()
    site = make_site(loop)
    binary = upgrade(site, binary_handshake("bench"))
    head = phone_handshake("bench")

    def cycle() -> Transport:
        phone = upgrade(site, head)
        phone.protocol.connection_lost(None)
        binary.written.clear()  # the close notice
        return phone

    assert benchmark(cycle).written[0].startswith(b"HTTP/1.1 101 ")
    site.wheel.close()
    loop.close()
