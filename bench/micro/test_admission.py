"""An upgrade by phase, and what a connection costs the registry, the limiter and the counters."""

import itertools
from typing import Any

import h11
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.support.in_memory import Transport
from bench.support.wire import phone_handshake
from fastrelay.http.handshake import generate_accept_token, switch_protocols
from fastrelay.metrics import make_metrics
from fastrelay.metrics.exposition import render
from fastrelay.policy.registry import Registry
from fastrelay.policy.token_buckets import TokenBuckets

HEAD = phone_handshake("bench")


@pytest.mark.benchmark(group="upgrade, by phase")
def test_parse_the_head(benchmark: BenchmarkFixture) -> None:
    def parse() -> object:
        http = h11.Connection(h11.SERVER)
        http.receive_data(HEAD)
        return http.next_event()

    assert isinstance(benchmark(parse), h11.Request)


@pytest.mark.benchmark(group="upgrade, by phase")
def test_perform_the_handshake(benchmark: BenchmarkFixture) -> None:
    transport: Any = Transport()

    def perform() -> None:
        switch_protocols(transport, generate_accept_token(b"AAAAAAAAAAAAAAAAAAAAAA=="), None)

    benchmark(perform)
    assert transport.written[0].startswith(b"HTTP/1.1 101")


@pytest.mark.benchmark(group="upgrade, by phase")
def test_count_it(benchmark: BenchmarkFixture) -> None:
    benchmark(make_metrics().upgrades.client_accept)


@pytest.mark.benchmark(group="upgrade, by phase")
def test_take_a_token(benchmark: BenchmarkFixture) -> None:
    times = itertools.count()
    buckets = TokenBuckets(20, 6.0, 100_000, lambda: next(times) * 7.0)
    assert benchmark(buckets.take, "198.51.100.1") == 0.0


@pytest.mark.benchmark(group="registry")
def test_register_and_unregister(benchmark: BenchmarkFixture) -> None:
    registry: Registry[str, str] = Registry(16)
    registry.claim("s", "binary")

    def cycle() -> bool:
        conn_id, _ = registry.register("s", "phone")
        return registry.unregister("s", conn_id, "phone")

    assert benchmark(cycle)


@pytest.mark.benchmark(group="registry")
def test_claim_release_expire(benchmark: BenchmarkFixture) -> None:
    registry: Registry[str, str] = Registry(16)

    def cycle() -> object:
        registry.claim("s", "binary")
        grace = registry.release("s", "binary")
        assert grace is not None
        return registry.expire(grace)

    assert benchmark(cycle) is not None


@pytest.mark.benchmark(group="registry")
def test_find_a_phone(benchmark: BenchmarkFixture) -> None:
    registry: Registry[str, str] = Registry(16)
    find = registry.claim("s", "binary").find_phone
    conn_id, _ = registry.register("s", "phone")
    assert benchmark(find, conn_id) == "phone"


@pytest.mark.benchmark(group="scrape")
def test_scrape(benchmark: BenchmarkFixture) -> None:
    registry = make_metrics().registry
    assert benchmark(render, registry, "")
