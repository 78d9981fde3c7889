"""Caps and pending connections, alone."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastrelay.policy.caps import LiveConnections, PendingConnections

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
