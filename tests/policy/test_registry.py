"""The registry's rules, one by one."""

import itertools

import pytest

from fastrelay.policy.registry import AtCap, Conflict, NoServer, Registry


def made(max_phones: int = 16) -> Registry[str, str]:
    """A registry whose ids end in 00000001, 00000002, …"""
    numbers = itertools.count(1)
    return Registry(max_phones, lambda: f"{next(numbers):08x}")


def test_the_first_claim_wins() -> None:
    registry = made()
    assert registry.claim("s", "first").conn_id == "server-s-00000001"
    with pytest.raises(Conflict):
        registry.claim("s", "second")
    assert registry.holder("s") == "first"
    assert registry.claim("other", "second").ended_grace is None


def test_a_phone_needs_a_server_id_that_is_held_or_in_grace() -> None:
    registry = made()
    with pytest.raises(NoServer):
        registry.register("s", "early")
    registry.claim("s", "binary")
    assert registry.register("s", "p1") == ("client-s-00000002", "binary")
    registry.release("s", "binary")
    assert registry.register("s", "p2") == ("client-s-00000003", None)
    assert (registry.connected_binaries, registry.connected_phones) == (0, 2)


def test_no_server_is_decided_before_at_cap_and_a_slot_comes_back() -> None:
    registry = made(max_phones=1)
    with pytest.raises(NoServer):
        registry.register("s", "p")
    registry.claim("s", "binary")
    conn_id, _ = registry.register("s", "p1")
    with pytest.raises(AtCap):
        registry.register("s", "p2")
    assert registry.unregister("s", conn_id, "p1")
    assert not registry.unregister("s", conn_id, "p1")
    registry.register("s", "p3")


def test_ids_are_drawn_again_on_a_collision() -> None:
    drawn = iter(["aaaaaaaa", "aaaaaaaa", "aaaaaaaa", "bbbbbbbb", "aaaaaaaa", "cccccccc"])
    registry: Registry[str, str] = Registry(16, lambda: next(drawn))
    assert registry.claim("s", "binary").conn_id == "server-s-aaaaaaaa"
    assert registry.register("s", "p1").conn_id == "client-s-aaaaaaaa"
    assert registry.register("s", "p2").conn_id == "client-s-bbbbbbbb"
    registry.release("s", "binary")
    assert registry.claim("s", "again").conn_id == "server-s-cccccccc"


def test_a_reclaim_evicts_and_ends_the_grace() -> None:
    registry = made()
    registry.claim("s", "old")
    conn_id, _ = registry.register("s", "phone")
    grace = registry.release("s", "old")
    assert grace is not None
    claim = registry.claim("s", "new")
    assert list(claim.evicted) == ["phone"]
    assert claim.ended_grace is grace
    assert claim.find_phone(conn_id) is None
    assert registry.expire(grace) is None  # a stale timer
    assert not registry.unregister("s", conn_id, "phone")
    assert (registry.connected_binaries, registry.connected_phones) == (1, 0)


def test_what_a_displaced_binary_does_changes_nothing() -> None:
    registry = made()
    old = registry.claim("s", "old")
    new = registry.take_over("s", "old", "new")
    conn_id, _ = registry.register("s", "phone")
    assert registry.release("s", "old") is None
    assert old.find_phone(conn_id) is None
    assert new.find_phone(conn_id) == "phone"
    with pytest.raises(Conflict):
        registry.take_over("s", "old", "third")


def test_an_evicted_phone_takes_no_namesake_with_it() -> None:
    """Its id may be drawn again before its connection has ended."""
    drawn = iter(["11111111", "aaaaaaaa", "22222222", "aaaaaaaa"])
    registry: Registry[str, str] = Registry(16, lambda: next(drawn))
    registry.claim("s", "old")
    conn_id, _ = registry.register("s", "evicted")
    new = registry.take_over("s", "old", "new")
    assert registry.register("s", "namesake").conn_id == conn_id
    assert not registry.unregister("s", conn_id, "evicted")
    assert (new.find_phone(conn_id), registry.connected_phones) == ("namesake", 1)
    assert registry.unregister("s", conn_id, "namesake")


def test_a_stale_grace_ends_no_later_one() -> None:
    registry = made()
    registry.claim("s", "first")
    stale = registry.release("s", "first")
    registry.claim("s", "second")
    assert stale is not None
    assert registry.expire(stale) is None
    grace = registry.release("s", "second")
    assert registry.expire(stale) is None
    assert len(registry) == 1
    assert grace is not None
    assert registry.expire(grace) is not None


def test_expiry_forgets_the_server_id() -> None:
    registry = made()
    registry.claim("s", "binary")
    registry.register("s", "phone")
    grace = registry.release("s", "binary")
    assert grace is not None
    phones = registry.expire(grace)
    assert phones is not None
    assert list(phones) == ["phone"]
    assert registry.expire(grace) is None
    assert (len(registry), registry.connected_phones) == (0, 0)
