"""Limits alone: token buckets, caps, the lobby, the common budget, addresses as keys."""

import ipaddress
import sys

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastrelay.address import bucket_key, plain_host
from fastrelay.http.client_address import forwarded_for, socket_peer
from fastrelay.limits.budget import BufferBudget
from fastrelay.limits.caps import LiveConnections, Lobby
from fastrelay.limits.token_bucket import TokenBuckets


class Clock:
    """Seconds, moved by the test."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -- token buckets --------------------------------------------------------------------------------


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
            sizes.append(sys.getsizeof(buckets._ahead))
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


# -- addresses ------------------------------------------------------------------------------------


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_an_ipv6_key_is_its_64_and_nothing_else(address: ipaddress.IPv6Address, host: int) -> None:
    sibling = ipaddress.IPv6Address(int(address) >> 64 << 64 | host)
    assert bucket_key(str(address)) == bucket_key(str(sibling))
    stranger = ipaddress.IPv6Address(int(address) ^ 1 << 64)
    assert bucket_key(str(address)) != bucket_key(str(stranger))


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_an_ipv4_key_is_the_address(
    one: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    assert (bucket_key(str(one)) == bucket_key(str(other))) == (one == other)


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:db8::ffff:1", "2001:db8::ffff:1"),
    ],
)
def test_plain_hosts(host: str, plain: str) -> None:
    assert plain_host(host) == plain
    assert bucket_key(plain_host(host))


def asked(*values: str) -> h11.Request:
    """A request with these ``X-Forwarded-For`` lines."""
    headers = [("Host", "r"), *(("X-Forwarded-For", value) for value in values)]
    return h11.Request(method="GET", target="/", headers=headers)


PEER = "198.51.100.7"
INSIDE = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


def test_by_default_nobody_is_believed() -> None:
    assert socket_peer(PEER, asked("203.0.113.9")) == PEER


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ((), PEER),
        (("203.0.113.9",), "203.0.113.9"),
        (("203.0.113.9 , 10.0.0.1",), "203.0.113.9"),
        (("203.0.113.9", "10.0.0.1"), "203.0.113.9"),
        (("203.0.113.9:4711",), "203.0.113.9"),
        (("[2001:db8::9]:4711",), "2001:db8::9"),
        (("[2001:db8::9]",), "2001:db8::9"),
        (("2001:DB8:0::9",), "2001:db8::9"),
        (("fe80::9%eth0",), "fe80::9"),
        (("::ffff:203.0.113.9",), "203.0.113.9"),
        (("::ffff:cb00:7109",), "203.0.113.9"),
        (("",), None),
        ((", 203.0.113.9",), None),
        (("unknown, 203.0.113.9",), None),
        (("203.0.113.9.1",), None),
        (("203.0.113.09",), None),
        (("1",), None),
    ],
)
def test_the_left_most_entry_from_anybody(lines: tuple[str, ...], client: str | None) -> None:
    assert forwarded_for(())(PEER, asked(*lines)) == client


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        (PEER, ("203.0.113.9",), PEER),
        (PEER, ("rubbish",), PEER),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("192.0.2.1, 203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, 10.0.0.2", "fd00::3"), "203.0.113.9"),
        ("10.0.0.1", ("rubbish, 203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, rubbish",), None),
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        ("10.0.0.1", ("203.0.113.9, ::ffff:10.0.0.2",), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, ::ffff:a00:2",), "203.0.113.9"),
    ],
)
def test_the_first_entry_that_is_not_trusted(
    peer: str, lines: tuple[str, ...], client: str | None
) -> None:
    assert forwarded_for(INSIDE)(peer, asked(*lines)) == client


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=12).map(str.strip), max_size=3))
def test_whatever_the_header_says_the_answer_has_a_key(lines: list[str]) -> None:
    try:
        request = asked(*lines)
    except (h11.LocalProtocolError, UnicodeEncodeError):
        return  # such a head is never read
    for resolve in (forwarded_for(()), forwarded_for(INSIDE)):
        client = resolve("10.0.0.1", request)
        assert client is None or bucket_key(client)


# -- caps -----------------------------------------------------------------------------------------


def test_the_relay_wide_cap() -> None:
    live: LiveConnections[str] = LiveConnections(most=2)
    live.add("one", "198.51.100.1")
    live.add("two", "198.51.100.1")
    assert not live.has_room("198.51.100.2")
    live.discard("one")
    live.discard("one")
    assert live.has_room("198.51.100.2")
    live.add("three", "198.51.100.2")
    assert not live.has_room("198.51.100.2")
    assert (len(live), list(live)) == (2, ["two", "three"])


def test_the_cap_of_an_address() -> None:
    live: LiveConnections[int] = LiveConnections(most=100, most_per_ip=2)
    for number, client in enumerate(["2001:db8::1", "2001:db8::ffff", "198.51.100.1"]):
        assert live.has_room(client)
        live.add(number, client)
    assert not live.has_room("2001:db8::2")
    assert live.has_room("2001:db8:0:1::1")
    assert live.has_room("198.51.100.1")
    assert live.has_room("")  # nobody's address: only the relay-wide cap


def test_connections_may_end_while_all_are_walked() -> None:
    live: LiveConnections[int] = LiveConnections(most=100, most_per_ip=100)
    for number in range(10):
        live.add(number, "198.51.100.1")
    for number in live:
        live.discard(number)
    assert len(live) == 0


class Caps(RuleBasedStateMachine):
    """Connections come and go, and every slot comes back."""

    MOST, EACH = 5, 2

    def __init__(self) -> None:
        super().__init__()
        self.live: LiveConnections[int] = LiveConnections(self.MOST, self.EACH)
        self.held: dict[int, str] = {}
        self.made = 0

    @rule(client=st.sampled_from("abc"))
    def come(self, client: str) -> None:
        mine = sum(held == client for held in self.held.values())
        room = len(self.held) < self.MOST and mine < self.EACH
        assert self.live.has_room(client) == room
        if room:
            self.made += 1
            self.live.add(self.made, client)
            self.held[self.made] = client

    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, self.made))  # maybe one that has gone already
        self.live.discard(number)
        self.held.pop(number, None)

    @invariant()
    def holds_those(self) -> None:
        assert list(self.live) == list(self.held)
        assert set(self.live._by_key) == set(self.held.values())  # and no dead address


TestCaps = Caps.TestCase


# -- the lobby ------------------------------------------------------------------------------------


class Visitor:
    """Leaves when it is dropped: at once, or when the loop tells it that the socket is gone."""

    def __init__(self, lobby: Lobby, at_once: bool = True) -> None:
        self.dropped = 0
        self._at_once = at_once
        self._lobby = lobby

    def abort(self) -> None:
        self.dropped += 1
        if self._at_once:
            self._lobby.leave(self)


@pytest.mark.parametrize("at_once", [True, False])
def test_past_the_cap_who_has_waited_longest_is_dropped(at_once: bool) -> None:
    lobby = Lobby(most=3)
    visitors = [Visitor(lobby, at_once) for _ in range(10)]
    for number, visitor in enumerate(visitors):
        lobby.enter(visitor)
        assert len(lobby) == min(number + 1, 3)
    assert [visitor.dropped for visitor in visitors] == [1] * 7 + [0] * 3


def test_who_left_makes_room() -> None:
    lobby = Lobby(most=2)
    first, second, third = (Visitor(lobby) for _ in range(3))
    lobby.enter(first)
    lobby.enter(second)
    lobby.leave(second)
    lobby.leave(second)
    lobby.enter(third)
    assert (len(lobby), first.dropped, third.dropped) == (2, 0, 0)


def test_all_are_dropped_at_the_end() -> None:
    lobby = Lobby(most=9)
    visitors = [Visitor(lobby) for _ in range(5)]
    for visitor in visitors:
        lobby.enter(visitor)
    lobby.drop_all()
    assert len(lobby) == 0
    assert [visitor.dropped for visitor in visitors] == [1] * 5


# -- the budget of all phones ---------------------------------------------------------------------


class Phone:
    """Gives its backlog up when told, but for ``rest`` bytes the kernel has not taken."""

    def __init__(self, budget: BufferBudget, rest: int = 0) -> None:
        self.overflows = 0
        self.held = 0
        self._budget = budget
        self._rest = rest

    def holds(self, size: int) -> None:
        self.held = size
        self._budget.update(self, size)

    def overflow(self) -> None:
        self.overflows += 1
        self.holds(min(self.held, self._rest))


def test_the_largest_goes_first_whoever_came_last() -> None:
    budget = BufferBudget(limit=100)
    small, large, last = (Phone(budget) for _ in range(3))
    small.holds(30)
    large.holds(60)
    last.holds(10)
    assert (budget.total, large.overflows) == (100, 0)
    last.holds(11)
    assert [phone.overflows for phone in (small, large, last)] == [0, 1, 0]
    assert budget.total == 41
    last.holds(70)
    assert last.overflows == 0
    last.holds(71)
    assert [phone.overflows for phone in (small, large, last)] == [0, 1, 1]
    assert budget.total == 30


def test_what_the_kernel_still_holds_stays_on_the_bill() -> None:
    budget = BufferBudget(limit=100)
    stuck, other = Phone(budget, rest=40), Phone(budget)
    stuck.holds(90)
    other.holds(20)
    assert (stuck.overflows, other.overflows, budget.total) == (1, 0, 60)
    other.holds(61)
    assert (stuck.overflows, other.overflows, budget.total) == (1, 1, 40)
    stuck.holds(0)
    assert budget.total == 0


def test_who_holds_nothing_is_forgotten() -> None:
    budget = BufferBudget(limit=100)
    phones = [Phone(budget) for _ in range(50)]
    for phone in phones:
        phone.holds(2)
    for phone in phones:
        phone.holds(0)
        phone.holds(0)
    assert (budget.total, len(budget._held)) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), max_size=60))
def test_the_sum_is_right_and_within_the_limit(updates: list[tuple[int, int]]) -> None:
    budget = BufferBudget(limit=100)
    phones = [Phone(budget) for _ in range(5)]
    for which, size in updates:
        before = [phone.held for phone in phones]
        phones[which].holds(size)
        before[which] = size
        dropped = [n for n, phone in enumerate(phones) if phone.held != before[n]]
        assert budget.total == sum(phone.held for phone in phones) <= 100
        if sum(before) <= 100:
            assert not dropped
        else:
            (one,) = dropped
            assert before[one] == max(before)
