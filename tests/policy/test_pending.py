"""Which connection goes when too many are not upgraded yet."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastrelay.policy.pending import PendingConnections


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
def test_past_the_cap_the_oldest_of_an_address_is_dropped(at_once: bool) -> None:
    pending = PendingConnections(most=3)
    connections = [FakeConnection(pending, at_once) for _ in range(10)]
    for number, connection in enumerate(connections):
        pending.add(connection, "198.51.100.1")
        assert len(pending) == min(number + 1, 3)
    assert [connection.dropped for connection in connections] == [1] * 7 + [0] * 3
    assert pending.dropped == 7


def test_an_address_with_many_drops_its_own_and_not_an_older_one() -> None:
    pending = PendingConnections(most=20)
    honest = [FakeConnection(pending) for _ in range(3)]
    for number, connection in enumerate(honest):
        pending.add(connection, f"198.51.100.{number}")
    for number in range(1000):  # from one /64
        pending.add(FakeConnection(pending), f"2001:db8::{number:x}")
    assert [connection.dropped for connection in honest] == [0] * 3
    assert len(pending) == 20


def test_who_left_makes_room() -> None:
    pending = PendingConnections(most=2)
    first, second, third = (FakeConnection(pending) for _ in range(3))
    pending.add(first, "a")
    pending.add(second, "a")
    pending.discard(second)
    pending.discard(second)
    pending.add(third, "a")
    assert (len(pending), first.dropped, third.dropped) == (2, 0, 0)


def test_all_are_dropped_at_the_end() -> None:
    pending = PendingConnections(most=9)
    connections = [FakeConnection(pending) for _ in range(5)]
    for connection in connections:
        pending.add(connection, "a")
    pending.drop_all()
    assert len(pending) == 0
    assert [connection.dropped for connection in connections] == [1] * 5


class Pending(RuleBasedStateMachine):
    """Against a list in the order of arrival."""

    MOST = 6

    def __init__(self) -> None:
        super().__init__()
        self.pending = PendingConnections(self.MOST)
        self.held: list[tuple[FakeConnection, str]] = []

    @rule(client=st.sampled_from("abc"))
    def come(self, client: str) -> None:
        connection = FakeConnection(self.pending)
        self.held.append((connection, client))
        self.pending.add(connection, client)
        if len(self.held) <= self.MOST:
            return
        clients = [held for _, held in self.held]
        most = max(map(clients.count, clients))
        (gone,) = [entry for entry in self.held if entry[0].dropped]
        assert clients.count(gone[1]) == most
        assert gone == next(entry for entry in self.held if entry[1] == gone[1])
        self.held.remove(gone)

    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        if self.held:
            entry = data.draw(st.sampled_from(self.held))
            self.held.remove(entry)
            self.pending.discard(entry[0])

    @invariant()
    def keeps_nothing_of_who_left(self) -> None:
        assert len(self.pending) == len(self.held)
        assert set(self.pending._by_key) == {client for _, client in self.held}
        counts = [len(mine) for mine in self.pending._by_key.values()]
        assert self.pending._largest == max(counts, default=0)
        assert {count for count, keys in self.pending._by_count.items() if keys} == set(counts)


TestPending = Pending.TestCase
