"""The decoder on one read: single frames and batches, by size."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.support.wire import PING, client_frame
from fastrelay.protocol.decoder import FrameDecoder
from fastrelay.protocol.frames import text_header

SINGLE = [16, 256, 4096, 65_000, 200_000]
BATCH = [(16, 64), (256, 32), (4096, 8)]


def decode(benchmark: BenchmarkFixture, stream: bytes, count: int) -> None:
    """Measure one ``get_buffer``, ``buffer_updated`` cycle on ``stream``."""
    shared = memoryview(bytearray(256 * 1024))
    shared[: len(stream)] = stream
    decoder = FrameDecoder(shared, 256 * 1024)

    def cycle() -> list[bytes]:
        decoder.get_buffer()
        return decoder.buffer_updated(len(stream))

    assert len(benchmark(cycle)) == count


@pytest.mark.benchmark(group="decode one frame")
@pytest.mark.parametrize("size", SINGLE)
def test_decode(benchmark: BenchmarkFixture, size: int) -> None:
    decode(benchmark, client_frame(b"x" * size), 1)


@pytest.mark.benchmark(group="decode a batch")
@pytest.mark.parametrize(("size", "count"), BATCH)
def test_decode_batch(benchmark: BenchmarkFixture, size: int, count: int) -> None:
    decode(benchmark, client_frame(b"x" * size) * count, count)


@pytest.mark.benchmark(group="decode one frame")
def test_decode_ping(benchmark: BenchmarkFixture) -> None:
    stream = client_frame(b"", PING)
    shared = memoryview(bytearray(stream))
    decoder = FrameDecoder(shared, 1024)

    def cycle() -> object:
        decoder.buffer_updated(len(stream))
        return decoder.take_controls()

    assert benchmark(cycle)


@pytest.mark.benchmark(group="encode a header")
@pytest.mark.parametrize("size", [16, 256, 65_536])
def test_header(benchmark: BenchmarkFixture, size: int) -> None:
    assert benchmark(text_header, size)
