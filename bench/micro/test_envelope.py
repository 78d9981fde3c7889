"""Checking, wrapping and unwrapping, by size."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastrelay.protocol.envelope import (
    check_frame,
    close_notice,
    gather,
    phone_prefix,
    unwrap,
    wrap,
)
from fastrelay.protocol.frames import text_header

SIZES = [16, 256, 4096, 65_000]
CONN_ID = "client-bench-00112233"
PREFIX = phone_prefix(CONN_ID)


def message(size: int) -> bytes:
    """A JSON value of so many bytes, as an end-to-end encrypted frame looks."""
    return b'{"type":"noise_msg","data":"%b"}' % (b"A" * max(0, size - 31))


@pytest.mark.benchmark(group="check a phone's frame")
@pytest.mark.parametrize("size", SIZES)
def test_check(benchmark: BenchmarkFixture, size: int) -> None:
    benchmark(check_frame, message(size))


@pytest.mark.benchmark(group="wrap")
@pytest.mark.parametrize(("size", "count"), [(16, 1), (256, 1), (256, 32), (4096, 8), (65_000, 4)])
def test_wrap(benchmark: BenchmarkFixture, size: int, count: int) -> None:
    assert benchmark(wrap, PREFIX, [message(size)] * count)


@pytest.mark.benchmark(group="unwrap")
@pytest.mark.parametrize("size", SIZES)
def test_unwrap(benchmark: BenchmarkFixture, size: int) -> None:
    envelope = benchmark(unwrap, PREFIX + message(size) + b"}")
    assert envelope.conn_id == CONN_ID


@pytest.mark.benchmark(group="gather for a phone")
@pytest.mark.parametrize(("size", "count"), [(256, 1), (256, 32), (65_000, 4)])
def test_gather(benchmark: BenchmarkFixture, size: int, count: int) -> None:
    frame = message(size)
    assert benchmark(gather, [text_header(len(frame)), frame] * count)


@pytest.mark.benchmark(group="close notice")
def test_close_notice(benchmark: BenchmarkFixture) -> None:
    assert benchmark(close_notice, CONN_ID, 1001)
