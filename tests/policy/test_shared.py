"""What workers share, as computations over a buffer: caps, buckets, flood limit, counters."""

import errno
import os
from typing import Any

import pytest

from fastrelay.policy.caps import LiveConnections
from fastrelay.policy.held_bytes import HeldBytes, Kind
from fastrelay.policy.ownership import KeyedHash, owner_of
from fastrelay.policy.shared.buckets import SharedTokenBuckets
from fastrelay.policy.shared.connections import MOST_TRANSFERS, SharedConnections
from fastrelay.policy.shared.endings import PLACES, SharedEndings
from fastrelay.policy.shared.flood import SharedFlood
from fastrelay.policy.shared.layout import SharedState, size_of
from fastrelay.protocol.cause import Aborted, Cause

WORKERS = 3
KEY = b"k" * 16


@pytest.fixture
def shared() -> SharedState:
    state = SharedState(memoryview(bytearray(size_of(WORKERS))), WORKERS)
    state.initialise(KEY, 1.5)
    return state


def seen_by(shared: SharedState) -> list[SharedConnections]:
    return [SharedConnections(shared.connections, i, shared.keyed) for i in range(WORKERS)]


def test_the_header_is_that_of_this_version(shared: SharedState) -> None:
    shared.check()
    assert shared.started_at == 1.5
    assert shared.keyed.of("a") == KeyedHash(KEY).of("a") != KeyedHash(b"x" * 16).of("a")
    shared.header[0] += 1
    with pytest.raises(ValueError, match="version 2"):
        shared.check()


def test_owners_are_spread_evenly() -> None:
    counts = [0] * 4
    for number in range(4000):
        counts[owner_of(f"id-{number}", KeyedHash(KEY), 4)] += 1
    assert min(counts) > 880


def test_a_cap_counts_the_connections_of_all_workers(shared: SharedState) -> None:
    first, second, third = (
        LiveConnections[int](10, 4, others=others) for others in seen_by(shared)
    )
    first.add(1, "192.0.2.1")
    second.add(2, "192.0.2.1")
    second.add(3, "192.0.2.1")
    assert third.has_room("192.0.2.1")
    third.add(4, "192.0.2.1")
    for live in (first, second, third):
        assert not live.has_room("192.0.2.1")
        assert live.has_room("192.0.2.2")
    second.discard(2)
    assert first.has_room("192.0.2.1")
    for number in range(10, 17):
        second.add(number, f"198.51.100.{number}")
    assert not third.has_room("203.0.113.1")
    shared.bury(1)
    assert third.has_room("203.0.113.1")


def test_a_connection_on_its_way_counts_once(shared: SharedState) -> None:
    first, second, third = seen_by(shared)
    keys = ("192.0.2.1",)
    transfer = first.begin(1, keys)
    assert transfer is not None
    for seen in (first, second, third):
        assert not seen.room_of(keys[0], 0, 1)
        assert not seen.room_for(0, 1)
        assert seen.room_of("192.0.2.9", 0, 1)
    assert second.adopt(0, transfer)
    second.added(keys)
    for seen, here in ((first, 0), (second, 1), (third, 0)):
        assert not seen.room_of(keys[0], here, 1)
        assert seen.room_of(keys[0], here, 2)
        assert seen.room_for(here, 2)
    shared.bury(1)
    assert first.end(1, transfer)  # no 503 behind a 101 whose writer has died
    assert third.room_of(keys[0], 0, 1)


def test_what_is_given_up_is_not_adopted(shared: SharedState) -> None:
    first, second, _ = seen_by(shared)
    given_up, kept = first.begin(1, ("a",)), first.begin(1, ("a",))
    assert given_up is not None
    assert kept is not None
    assert not first.end(1, given_up)
    assert not second.adopt(0, given_up)
    later = first.begin(1, ("a",))
    assert later is not None
    assert later.place == given_up.place
    assert not second.adopt(0, given_up)  # its place is another one's by now
    assert second.adopt(0, later)
    shared.bury(0)
    assert not second.adopt(0, kept)
    again = seen_by(shared)[0].begin(1, ("a",))
    assert again is not None
    assert again.place == given_up.place
    assert again not in {given_up, later}


def test_who_waits_to_be_handed_over_is_counted(shared: SharedState) -> None:
    first, second, _ = seen_by(shared)
    keys = ("2001:db8::/64", "2001:db8::/56", "2001:db8::/48")
    first.waits(keys)
    first.waits(keys)
    first.waits_no_more(keys)
    for seen in (first, second):
        assert not seen.room_for(0, 1)
        assert not seen.room_of(keys[1], 0, 1)
        assert seen.room_of(keys[1], 0, 2)
    first.waits_no_more(keys)
    for seen in (first, second):
        assert seen.room_for(0, 1)
        assert seen.room_of(keys[1], 0, 1)


def test_so_many_are_on_their_way_and_no_more(shared: SharedState) -> None:
    first, second, _ = seen_by(shared)
    begun = [first.begin(1, ("a",)) for _ in range(MOST_TRANSFERS)]
    assert first.begin(1, ("a",)) is None
    assert first.begin(2, ("a",)) is not None
    assert begun[3] is not None
    assert second.adopt(0, begun[3])
    assert first.end(1, begun[3])
    again = first.begin(1, ("a",))
    assert again is not None
    assert again.place == begun[3].place
    assert again not in begun


def test_a_sender_that_dies_counts_no_more(shared: SharedState) -> None:
    first, _, third = seen_by(shared)
    first.begin(1, ("a",))
    first.added(("a",))
    assert not third.room_of("a", 0, 2)
    shared.bury(0)
    assert third.room_of("a", 0, 1)


def test_how_a_splice_ended_is_known_on_both_sides(shared: SharedState) -> None:
    seen = [SharedEndings(shared.ending_rows, index) for index in range(WORKERS)]
    number = (1 << 62) + 5
    peer, owner = seen[0].of(1, number), seen[1].of(0, number)
    assert owner.why() is None
    assert not peer.is_aborted()
    for cause in Cause:
        peer.ended(Aborted(cause))
        why = owner.why()
        assert isinstance(why, Aborted)
        assert why.cause is cause
    assert seen[1].of(0, number + 1).why() is None
    assert seen[1].of(0, number + PLACES).why() is None  # it has the same place
    assert seen[2].of(1, number).why() is None
    for code in errno.errorcode:
        peer.ended(OSError(code, "whatever"))
        assert repr(owner.why()) == repr(OSError(code, os.strerror(code)))
    owner.aborted()
    assert peer.is_aborted()
    assert peer.why() is None
    seen[0].of(2, number + PLACES).ended(Aborted(Cause.TLS_FAILED))
    assert owner.why() is None


def test_buckets_are_one_for_all_and_refill(shared: SharedState) -> None:
    now = 100.0
    takers = [
        SharedTokenBuckets(shared.upgrade_buckets, 4, 2.0, shared.keyed, lambda: now)
        for _ in range(WORKERS)
    ]
    assert [takers[i % 3].take("192.0.2.1") for i in range(5)] == [0.0, 0.0, 0.0, 0.0, 2.0]
    assert takers[1].take("192.0.2.2") == 0.0
    now = 102.0
    assert [takers[i].take("192.0.2.1") for i in (2, 0)] == [0.0, 2.0]


def test_a_stranger_with_one_place_in_common_empties_no_bucket() -> None:
    class Colliding(KeyedHash):
        def of(self, text: str) -> int:
            return {"a": 1 | 2 << 32, "b": 2 | 3 << 32}[text]

    buckets = SharedTokenBuckets([0.0] * 8, 2, 1.0, Colliding(b"key"), lambda: 10.0)
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 1.0]
    assert [buckets.take("b") for _ in range(3)] == [0.0, 0.0, 1.0]


def test_the_flood_limit_is_one_for_all(shared: SharedState) -> None:
    rows = shared.flood_rows
    limits = [SharedFlood(rows, i, shared.keyed, 10.0, 20) for i in range(WORKERS + 1)]
    written = sum(limits[i % 4]("rate_limited", 1000.5) for i in range(100))
    assert written == 20
    assert limits[0]("conn_cap_reached", 1000.5)
    assert limits[0]("rate_limited", 1010.5)


def test_counters_of_the_dead_are_kept_and_gauges_are_not(shared: SharedState) -> None:
    sums = shared.sums()
    counters, gauges = shared.counters_of(1), shared.gauges_of(1)
    counters.frames.phone_to_binary.forwarded += 7
    counters.durations.lag.observe(0.5)
    counters.upgrades.client_rate_limit_deny()
    gauges.connected.binaries += 3
    shared.counters_of(2).frames.phone_to_binary.forwarded += 1
    for dead in (False, True):
        if dead:
            shared.bury(1)
        sums.refresh()
        assert sums.counters.frames.phone_to_binary.forwarded == 8
        assert sums.counters.durations.lag.total == 0.5
        assert sums.counters.upgrades.cells[8] == 1
        assert sums.gauges.connected.binaries == (0 if dead else 3)
    shared.counters_of(1).frames.phone_to_binary.forwarded += 2  # its successor
    sums.refresh()
    assert sums.counters.frames.phone_to_binary.forwarded == 10


class Holding:
    def __init__(self) -> None:
        self.evicted = 0

    def held_for(self, kind: Kind) -> tuple[str, str]:
        return "192.0.2.1", "s"

    def evict(self, kind: Kind) -> None:
        self.evicted += 1


def test_the_worker_above_its_share_evicts() -> None:
    sums = [0, 0]

    def worker(place: int) -> Any:
        held = HeldBytes(1000)
        held.share(500, lambda n: sums.__setitem__(place, n), lambda: sums[1 - place])
        return held

    large, small = worker(0), worker(1)
    first, second = Holding(), Holding()
    large.phone_backlogs.hold(first, 900)  # the other one needs nothing
    assert not first.evicted
    small.phone_backlogs.hold(second, 300)
    assert not second.evicted  # it is within its share
    large.enforce()
    assert first.evicted == 1
