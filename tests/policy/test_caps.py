"""Caps on live connections, and the budget of all phones, alone."""

import ipaddress
from collections import Counter
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastrelay.address import nested_keys
from fastrelay.config.settings import Limits
from fastrelay.policy.caps import FEW, LiveConnections
from fastrelay.policy.counters import Counters
from fastrelay.policy.held_bytes import BufferBudget
from fastrelay.protocol.close_codes import BACKLOG_FULL, CloseReason
from fastrelay.routing.context import RoutingContext
from fastrelay.routing.phone import Phone as RoutedPhone
from fastrelay.websocket.connection import Connection as LiveConnection

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
    live: LiveConnections[int] = LiveConnections(most=100, most_per_address=2)
    for number, client in enumerate(["2001:db8::1", "2001:db8::ffff", "198.51.100.1"]):
        assert live.has_room(client)
        live.add(number, client)
    assert not live.has_room("2001:db8::2")
    assert live.has_room("2001:db8:0:1::1")
    assert live.has_room("198.51.100.1")
    assert live.has_room("")  # nobody's address: only the relay-wide cap


def test_connections_may_end_while_all_are_walked() -> None:
    live: LiveConnections[int] = LiveConnections(most=100, most_per_address=100)
    for number in range(10):
        live.add(number, "198.51.100.1")
    for number in live:
        live.discard(number)
    assert len(live) == 0


def filled(most: int, most_per_address: int = 0) -> LiveConnections[str]:
    """Nine tenths of a relay are taken, by as many addresses."""
    live: LiveConnections[str] = LiveConnections(most, most_per_address)
    for number in range(most - most // 10):
        live.add(f"other {number}", f"203.0.113.{number}")
    return live


@pytest.mark.parametrize("most_per_address", [0, 64])
def test_the_last_tenth_is_for_addresses_with_few(most_per_address: int) -> None:
    live = filled(200, most_per_address)
    for number in range(FEW):
        assert live.has_room("198.51.100.1")
        live.add(f"mine {number}", "198.51.100.1")
    assert not live.has_room("198.51.100.1")
    assert live.refused.reserve == 1
    assert live.has_room("198.51.100.2")
    assert live.has_room("")  # of no address that is counted
    live.discard("other 3")
    assert not live.has_room("198.51.100.1")
    for number in range(FEW):
        live.discard(f"other 1{number}")
    assert live.has_room("198.51.100.1")


@pytest.mark.parametrize(("level", "times"), [(0, 1), (1, 2), (2, 4)])
def test_the_caps_of_the_networks_around_an_address(level: int, times: int) -> None:
    live: LiveConnections[int] = LiveConnections(most=1000, most_per_address=3)
    step = 1 << (0, 64, 72)[level]  # in one /64, one /56, one /48
    first = int(ipaddress.IPv6Address("2001:db8::"))
    for number in range(3 * times):
        client = str(ipaddress.IPv6Address(first + number * step))
        assert live.has_room(client)
        live.add(number, client)
    assert not live.has_room(str(ipaddress.IPv6Address(first + 3 * times * step)))
    assert live.refused.address_full == 1
    assert live.has_room("2001:db8:1::")
    live.discard(0)
    assert live.has_room(str(ipaddress.IPv6Address(first + 3 * times * step)))


class Caps(RuleBasedStateMachine):
    """Connections come and go, and every slot comes back."""

    MOST, EACH = 12, 2
    CLIENTS = (
        *("198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::"),
        *("2001:db8:0:2::", "2001:db8:0:100::", "2001:db8:0:200::", "2001:db8:1::", ""),
    )

    def __init__(self) -> None:
        super().__init__()
        self.live: LiveConnections[int] = LiveConnections(self.MOST, self.EACH)
        self.held: dict[int, str] = {}
        self.made = 0

    def keys(self) -> list[str]:
        return [key for client in self.held.values() if client for key in nested_keys(client)]

    @rule(client=st.sampled_from(CLIENTS))
    def come(self, client: str) -> None:
        counts = [self.keys().count(key) for key in nested_keys(client)] if client else []
        room = len(self.held) < self.MOST and all(
            count < self.EACH * 2**level for level, count in enumerate(counts)
        )
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
        counted = {key: group.count for key, group in self.live._by_key.items()}
        assert counted == dict(Counter(self.keys()))  # and no dead address


TestCaps = Caps.TestCase


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


# -- the budget of one phone ----------------------------------------------------------------------


class Connection:
    def __init__(self) -> None:
        self.failed: list[CloseReason] = []

    def fail(self, close: CloseReason) -> None:
        self.failed.append(close)


def test_four_mebibytes_are_within_the_budget_of_a_phone_and_one_byte_more_is_not() -> None:
    budget, connection = BufferBudget(2**40), Connection()
    nothing = cast("Any", None)
    context = RoutingContext(Limits(), Counters(), budget, waker=nothing, log=nothing)
    one = RoutedPhone("s1", context, router=nothing)
    one.connection = cast("LiveConnection", connection)
    one.on_backlog(4 * 1024 * 1024)
    assert (budget.total, connection.failed) == (4 * 1024 * 1024, [])
    one.on_backlog(4 * 1024 * 1024 + 1)
    assert connection.failed == [BACKLOG_FULL]
