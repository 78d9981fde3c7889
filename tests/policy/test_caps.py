"""Caps on live connections, alone."""

import ipaddress
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastrelay.address import nested_keys
from fastrelay.policy.caps import FEW, LiveConnections

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
    assert live.has_room("2001:db8::2", is_capped=False)


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
    assert live.has_room("198.51.100.1", is_capped=False)
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
        *("2001:db8:0:2::", "2001:db8:0:100::", "2001:db8:0:200::", "2001:db8:1::"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.live: LiveConnections[int] = LiveConnections(self.MOST, self.EACH)
        self.held: dict[int, str] = {}
        self.made = 0

    def keys(self) -> list[str]:
        return [key for client in self.held.values() for key in nested_keys(client)]

    @rule(client=st.sampled_from(CLIENTS))
    def come(self, client: str) -> None:
        counts = [self.keys().count(key) for key in nested_keys(client)]
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
