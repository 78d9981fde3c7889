"""Token buckets alone, on a clock of the test's own."""

import ipaddress
import sys

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastrelay.address import bucket_key
from fastrelay.policy.ownership import KeyedHash
from fastrelay.policy.shared.buckets import BUCKETS, SharedTokenBuckets
from fastrelay.policy.token_buckets import TokenBuckets


class Clock:
    """Seconds, moved by the test."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_then_one_every_refill(clock: Clock) -> None:
    buckets = TokenBuckets(burst=20, refill=6, capacity=10, clock=clock)
    assert [buckets.take("a") for _ in range(20)] == [0.0] * 20
    assert buckets.take("a") == 6
    clock.now += 4.5
    assert buckets.take("a") == 1.5
    clock.now += 1.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == 6
    clock.now += 12
    assert [buckets.take("a") == 0 for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("refill", [0.05, 0.1, 1e6])
def test_a_burst_is_whole_whatever_the_clock_shows(clock: Clock, refill: float) -> None:
    """Sums of floats are rounded, and the clock may stand still between two attempts."""
    shared = SharedTokenBuckets([0.0] * BUCKETS, 7, refill, KeyedHash(b"key"), clock)
    for buckets in (TokenBuckets(burst=7, refill=refill, capacity=10_000, clock=clock), shared):
        for nth in range(1000):
            clock.now += 0.0123456789
            taken = [buckets.take(f"{buckets!r} {nth}") == 0.0 for _ in range(8)]
            assert taken == [True] * 7 + [False]


def test_waiting_fills_a_bucket_to_its_burst_and_no_further(clock: Clock) -> None:
    buckets = TokenBuckets(burst=3, refill=10, capacity=10, clock=clock)
    for _ in range(2):
        assert [buckets.take("a") == 0 for _ in range(4)] == [True, True, True, False]
        clock.now += 10_000


def test_one_keys_flood_is_nothing_to_another(clock: Clock) -> None:
    buckets = TokenBuckets(burst=2, refill=6, capacity=10, clock=clock)
    for _ in range(100):
        buckets.take("flood")
    assert buckets.take("honest") == 0


def test_an_attempt_that_is_refused_costs_no_token(clock: Clock) -> None:
    buckets = TokenBuckets(burst=1, refill=6, capacity=10, clock=clock)
    assert buckets.take("a") == 0
    for _ in range(60):
        assert buckets.take("a") > 0
        clock.now += 0.1
    clock.now += 1e-6
    assert buckets.take("a") == 0


class Buckets(RuleBasedStateMachine):
    """Against buckets as one would draw them: a number of tokens, and when it was right."""

    BURST, REFILL = 4, 8.0

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.buckets = TokenBuckets(self.BURST, self.REFILL, 100, self.clock)
        self.tokens: dict[str, tuple[float, float]] = {}

    def level(self, key: str) -> float:
        tokens, since = self.tokens.get(key, (float(self.BURST), self.clock.now))
        return min(self.BURST, tokens + (self.clock.now - since) / self.REFILL)

    @rule(key=st.sampled_from("ab"))
    def take(self, key: str) -> None:
        level, wait = self.level(key), self.buckets.take(key)
        assert wait == max(0.0, (1 - level) * self.REFILL)
        self.tokens[key] = (level - (wait == 0), self.clock.now)

    # Powers of two, so that both sides' sums are exact.
    @rule(seconds=st.sampled_from([0.25, 1, 2, 7.5, 8, 16, 64]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def sweep(self) -> None:
        self.buckets.sweep()
        assert len(self.buckets) == sum(self.level(key) < self.BURST for key in "ab")

    @invariant()
    def remembers_who_is_short(self) -> None:
        assert len(self.buckets) >= sum(self.level(key) < self.BURST for key in "ab")


TestBuckets = Buckets.TestCase


def test_an_address_scan_takes_bounded_memory(clock: Clock) -> None:
    buckets = TokenBuckets(burst=20, refill=6, capacity=1000, clock=clock)
    sizes = []
    for number in range(20_000):
        assert buckets.take(bucket_key(str(ipaddress.IPv4Address(number)))) == 0
        if number % 5000 == 4999:
            sizes.append(sys.getsizeof(buckets._full_at))
    assert len(buckets) == 1000
    assert len(set(sizes)) == 1


def test_at_capacity_the_oldest_is_forgotten_and_no_other(clock: Clock) -> None:
    buckets = TokenBuckets(burst=1, refill=60, capacity=3, clock=clock)
    for key in "abc":
        assert buckets.take(key) == 0
    assert [buckets.take(key) > 0 for key in "abc"] == [True] * 3
    assert buckets.take("d") == 0
    assert [buckets.take(key) > 0 for key in "bcd"] == [True] * 3
    assert buckets.take("a") == 0


def test_at_capacity_a_known_key_costs_nobody_theirs(clock: Clock) -> None:
    buckets = TokenBuckets(burst=2, refill=60, capacity=3, clock=clock)
    for key in "abcc":
        assert buckets.take(key) == 0
    for key in "ab":
        assert [buckets.take(key) == 0 for _ in range(2)] == [True, False]


def test_a_scan_of_one_subscribers_addresses_is_one_key(clock: Clock) -> None:
    buckets = TokenBuckets(burst=20, refill=6, capacity=1000, clock=clock)
    network = int(ipaddress.IPv6Address("2001:db8:1:2::"))
    keys = [bucket_key(str(ipaddress.IPv6Address(network + n * 2**40 + n))) for n in range(500)]
    assert sum(buckets.take(key) == 0 for key in keys) == 20
    assert len(buckets) == 1
    assert buckets.take(bucket_key("2001:db8:1:3::1")) == 0
