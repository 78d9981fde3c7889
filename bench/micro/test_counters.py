"""What the counters cost: one read of a phone with and without timing one in many, and the rest.

``never`` is the read as if frames were never timed; ``one in 251`` is what the relay does; the
difference is what the histogram costs a read. ``always`` times every read.
"""

from types import SimpleNamespace
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastrelay.policy.counters.closes import Closes
from fastrelay.policy.counters.durations import Durations
from fastrelay.policy.counters.frames import DirectionCounts
from fastrelay.protocol.cause import Cause
from fastrelay.routing.phone import Phone

READS = 251
"""In one round, so that each has its share of what is done once in so many."""


class _Sink:
    """The connection of a binary that takes everything at once."""

    is_open = True

    def send(self, pieces: object, frames: int, owner: object) -> bool:
        return True

    def send_frame(self, frame: bytes, owner: object) -> bool:
        return True

    def notify_when_flushed(self, marker: Any) -> None:
        marker.flushed()


class _Always(DirectionCounts):
    """Times every read."""

    def sample(self) -> None:
        self.sample_at = self.received + 1


def _phone(counts: DirectionCounts) -> Phone:
    frames: Any = SimpleNamespace(phone_to_binary=counts)
    counters: Any = SimpleNamespace(frames=frames, durations=Durations())
    context: Any = SimpleNamespace(counters=counters)
    phone = Phone("bench", context, None)  # type: ignore[arg-type]
    sink: Any = _Sink()
    phone.connection = sink
    phone.registered("client-bench-00112233", sink)
    return phone


@pytest.mark.benchmark(group="251 reads of a phone, by how many are timed")
@pytest.mark.parametrize("frames", [1, 32])
@pytest.mark.parametrize("timed", ["never", "one in 251", "always"])
def test_reads(benchmark: BenchmarkFixture, timed: str, frames: int) -> None:
    counts = _Always() if timed == "always" else DirectionCounts()
    phone = _phone(counts)
    messages = [b'"%b"' % (b"x" * 254)] * frames

    def reads() -> None:
        if timed == "never":
            counts.sample_at = counts.received + 2**40
        for _ in range(READS):
            phone.on_messages(messages)

    benchmark(reads)


@pytest.mark.benchmark(group="counters")
def test_observe_a_duration(benchmark: BenchmarkFixture) -> None:
    benchmark(Durations().client.observe, 0.003)


@pytest.mark.benchmark(group="counters")
def test_count_a_close(benchmark: BenchmarkFixture) -> None:
    benchmark(Closes().phones.count, Cause.PEER_CLOSED, 1000)
