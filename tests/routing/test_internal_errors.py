"""An exception of one peer's connection is paid by that peer: everything else goes on.

Each scenario leads through one of the places in which the relay calls several peers in a row, or
one peer in the middle of another's change of state. It is played once for every call that the
victim's transport gets, and that call raises.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from fastrelay.loop.internal_errors import describe
from fastrelay.protocol.cause import Cause
from tests.support.faulty import MemoryPeer, MemoryRelay
from tests.support.peer import PING, client_frame

Scenario = Callable[[MemoryRelay, int], Awaitable[MemoryPeer]]
"""Plays with a victim whose transport raises at the given call; returns the victim."""

MOST_CALLS = 200


async def frames_to_all(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """A binary's batch for three phones, and a frame of each of them."""
    binary = relay.binary()
    first = relay.phone()
    victim = relay.phone(raise_at=raise_at)
    last = relay.phone()
    ids = [relay.conn_id(binary, phone) for phone in (first, victim, last)]
    binary.send(*({"conn_id": conn_id, "frame": n} for n in range(5) for conn_id in ids))
    for conn_id in ids:
        binary.send({"conn_id": conn_id, "frame": 5})
    assert first.messages() == last.messages() == list(range(6))
    victim.send(2, 3)
    first.send(4)
    last.send(4)
    seen = [(message["conn_id"], message.get("frame")) for message in binary.messages()]
    assert (ids[0], 4) in seen
    assert (ids[2], 4) in seen
    return victim


async def a_phone_that_stalls(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """Frames queue for one phone and go out later, pings in between, while its sibling reads."""
    binary = relay.binary()
    victim, sibling = relay.phone(raise_at=raise_at), relay.phone()
    ids = [relay.conn_id(binary, phone) for phone in (victim, sibling)]
    victim.transport.stalled = True
    for number in range(3):
        binary.send(*({"conn_id": conn_id, "frame": number} for conn_id in ids))
    await relay.turn(9.0)
    victim.receive(client_frame(b"", PING))
    victim.transport.go_on()
    binary.send({"conn_id": ids[1], "frame": 3})
    assert sibling.messages() == list(range(4))
    return victim


async def a_binary_that_stalls(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """Its phones are not read, and read again when it takes frames; one of them is the victim."""
    binary = relay.binary()
    first, victim, last = relay.phone(), relay.phone(raise_at=raise_at), relay.phone()
    binary.transport.stalled = True
    first.send("x" * 2000)
    first.send("x" * 2000)
    last.send("x" * 2000)
    late = relay.phone()
    assert first.transport.paused
    assert last.transport.paused
    assert not late.transport.paused
    binary.transport.go_on()
    assert not first.transport.paused
    assert not last.transport.paused
    assert not late.transport.paused
    last.send(1)
    assert binary.messages()[-1]["frame"] == 1
    return victim


async def the_binary_itself(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """The victim is the binary; phones keep what is theirs, and another may have its name."""
    victim = relay.binary(raise_at=raise_at)
    phones = [relay.phone() for _ in range(3)]
    victim.transport.stalled = True
    for phone in phones:
        phone.send("x" * 2000)
    await relay.turn()
    victim.transport.go_on()
    victim.transport.stalled = False
    for phone in phones:
        phone.send(1)
    victim.pong()
    victim.transport.lose()
    await relay.turn()
    binary = relay.binary()
    phone = relay.phone()
    phone.send(2)
    assert binary.messages()[-1]["frame"] == 2
    for phone in phones:
        phone.transport.stalled = False
        assert phone.close_code() in {4404, 1000}
    return victim


async def a_directive(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """The binary closes the victim in the middle of a batch."""
    binary = relay.binary()
    victim, sibling = relay.phone(raise_at=raise_at), relay.phone()
    ids = [relay.conn_id(binary, phone) for phone in (victim, sibling)]
    binary.send(
        {"conn_id": ids[1], "frame": 1},
        {"conn_id": ids[0], "frame": 1, "close_code": 4401},
        {"conn_id": ids[1], "frame": 2},
    )
    assert sibling.messages() == [1, 2]
    return victim


async def a_reclaim(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """The phones of the binary that is replaced are all told."""
    old = relay.binary()
    first, victim, last = relay.phone(), relay.phone(raise_at=raise_at), relay.phone()
    old.transport.lose()
    new = relay.binary()
    assert first.close_code() == last.close_code() == 4404
    relay.phone().send(1)
    assert new.messages()[-1]["frame"] == 1
    return victim


async def the_end_of_grace(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """The phones of a binary that does not come back are all told."""
    old = relay.binary()
    first, victim, last = relay.phone(), relay.phone(raise_at=raise_at), relay.phone()
    old.transport.lose()
    await relay.turn(29.0)
    for phone in (first, last):
        phone.pong()
    await relay.turn(2.0)
    assert first.close_code() == last.close_code() == 1000
    assert len(relay.relay.registry) == 0
    return victim


async def a_silent_incumbent(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """The victim holds a server-id, does not answer, and is taken over."""
    victim = relay.binary(raise_at=raise_at)
    phone = relay.phone()
    newcomers = [relay.binary(), relay.binary()]
    await relay.turn(11.0)
    holders = [peer for peer in newcomers if peer.close_code() is None]
    assert len(holders) == 1
    assert phone.close_code() == 4404
    relay.phone().send(7)
    assert holders[0].messages()[-1]["frame"] == 7
    return victim


async def a_newcomer(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """The victim claims a server-id that is held; the incumbent answers the probe."""
    incumbent = relay.binary()
    victim, other = relay.binary(raise_at=raise_at), relay.binary()
    incumbent.pong()
    assert other.close_code() == 4409
    relay.phone().send(1)
    assert incumbent.messages()[-1]["frame"] == 1
    return victim


async def a_newcomer_that_wins(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """The victim gets the server-id of a silent incumbent, or fails and leaves it to others."""
    incumbent = relay.binary()
    phone = relay.phone()
    victim = relay.binary(raise_at=raise_at)
    await relay.turn(11.0)
    assert incumbent.close_code() == 1011 or raise_at
    assert phone.close_code() == 4404 or raise_at
    victim.transport.lose()
    await relay.turn()
    binary = relay.binary()
    await relay.turn(11.0)
    relay.phone().send(1)
    assert binary.messages()[-1]["frame"] == 1
    return victim


async def the_budget_of_all(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """The victim holds most of the bytes of all backlogs, so it is the one that has to go."""
    binary = relay.binary()
    victim, sibling = relay.phone(raise_at=raise_at), relay.phone()
    ids = [relay.conn_id(binary, phone) for phone in (victim, sibling)]
    victim.transport.stalled = sibling.transport.stalled = True
    for number in range(30):
        binary.send({"conn_id": ids[0], "frame": "x" * 400})
        if number % 6 == 0:
            binary.send({"conn_id": ids[1], "frame": number})
    sibling.transport.go_on()
    assert sibling.messages() == [0, 6, 12, 18, 24]
    assert sibling.close_code() is None
    return victim


async def heartbeats(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """Everybody is pinged; the victim and those behind it in the wheel answer or end."""
    binary = relay.binary()
    first, victim, last = relay.phone(), relay.phone(raise_at=raise_at), relay.phone()
    await relay.turn(31.0)
    for peer in (binary, first, last):
        peer.pong()
    await relay.turn(31.0)
    assert first.close_code() is last.close_code() is binary.close_code() is None
    assert victim.close_code() == 1011 or raise_at
    last.send(1)
    assert binary.messages()[-1]["frame"] == 1
    await relay.turn(6.0)
    return victim


async def a_drain(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """Every other peer is told 1001."""
    binary, first = relay.binary("s1"), relay.phone("s1")
    victim = relay.binary("s2", raise_at)
    others = [relay.binary("s3"), relay.phone("s3"), binary, first]
    drain = asyncio.ensure_future(relay.relay.drain())
    while not drain.done():  # those that do not answer are waited for by the relay's clock
        await relay.turn(1.0)
        await asyncio.wait({drain}, timeout=0.01)
    await drain
    assert [peer.close_code() for peer in others] == [1001] * 4
    return victim


async def a_stop(relay: MemoryRelay, raise_at: int) -> MemoryPeer:
    """All sockets are dropped."""
    victim = relay.binary("s1", raise_at)
    others = [relay.binary("s2"), relay.phone("s2")]
    await relay.relay.stop()
    relay.stopped = True
    assert all(peer.transport.is_closing() for peer in others)
    return victim


SCENARIOS: list[Scenario] = [
    frames_to_all,
    a_phone_that_stalls,
    a_binary_that_stalls,
    the_binary_itself,
    a_directive,
    a_reclaim,
    the_end_of_grace,
    a_silent_incumbent,
    a_newcomer,
    a_newcomer_that_wins,
    the_budget_of_all,
    heartbeats,
    a_drain,
    a_stop,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_a_transport_that_raises(scenario: Scenario) -> None:
    caught = 0
    for raise_at in range(MOST_CALLS):
        async with MemoryRelay(binary_backlog_bytes=3000, held_bytes=8000) as relay:
            victim = await scenario(relay, raise_at)
        caught += relay.relay.errors.count
        assert relay.relay.errors.count == len(relay.log_of("internal_error"))
        if raise_at and victim.transport.calls < raise_at:
            break
    else:
        pytest.fail("the scenario has no end")
    assert caught


async def test_what_is_logged_names_the_place_and_quotes_nothing() -> None:
    async with MemoryRelay() as relay:
        relay.binary()
        calls = relay.phone().transport.calls
        victim = relay.phone(raise_at=calls + 1)
        victim.receive(client_frame(b"secret", PING))
        assert victim.transport.is_closing()
        (line,) = relay.log_of("internal_error")
        assert re.search(r"level=ERROR .* err=\"Fault in websocket/sender\.py:\d+\"", line)
        assert not any("secret" in line for line in relay.lines)


async def test_the_close_is_counted_and_the_binary_is_told() -> None:
    async with MemoryRelay() as relay:
        binary = relay.binary()
        calls = relay.phone().transport.calls
        victim = relay.phone(raise_at=calls + 1)
        victim.receive(client_frame(b"", PING))
        assert binary.messages()[-1]["close_code"] == 1001
        assert relay.metrics.counters.closes.phones.cells[Cause.INTERNAL_ERROR, "none"] == 1
        assert victim.close_code() is None


def test_text_of_an_exception_is_not_said() -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        b"secret\xff".decode()
    assert describe(caught.value) == "UnicodeDecodeError"
