"""Caps, pending connections, and the budget of all phones, alone."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastrelay.config.settings import Limits
from fastrelay.policy.caps import LiveConnections, PendingConnections
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


# -- pending connections --------------------------------------------------------------------------


class FakeConnection:
    """Leaves when it is dropped: at once, or when the loop tells it that the socket is gone."""

    def __init__(self, pending: PendingConnections, at_once: bool = True) -> None:
        self.dropped = 0
        self._at_once = at_once
        self._pending = pending

    def abort(self) -> None:
        self.dropped += 1
        if self._at_once:
            self._pending.discard(self)


@pytest.mark.parametrize("at_once", [True, False])
def test_past_the_cap_who_has_waited_longest_is_dropped(at_once: bool) -> None:
    pending = PendingConnections(most=3)
    connections = [FakeConnection(pending, at_once) for _ in range(10)]
    for number, connection in enumerate(connections):
        pending.add(connection)
        assert len(pending) == min(number + 1, 3)
    assert [connection.dropped for connection in connections] == [1] * 7 + [0] * 3


def test_who_left_makes_room() -> None:
    pending = PendingConnections(most=2)
    first, second, third = (FakeConnection(pending) for _ in range(3))
    pending.add(first)
    pending.add(second)
    pending.discard(second)
    pending.discard(second)
    pending.add(third)
    assert (len(pending), first.dropped, third.dropped) == (2, 0, 0)


def test_all_are_dropped_at_the_end() -> None:
    pending = PendingConnections(most=9)
    connections = [FakeConnection(pending) for _ in range(5)]
    for connection in connections:
        pending.add(connection)
    pending.drop_all()
    assert len(pending) == 0
    assert [connection.dropped for connection in connections] == [1] * 5


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
