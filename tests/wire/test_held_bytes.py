"""Peers that make the relay hold bytes: their sum stays within the budget, and others are safe."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.support.certificates import local_certificate
from tests.support.harness import RunningRelay, running_relay
from tests.support.hurting import answering_pings, resident
from tests.support.peer import TEXT, Peer, client_frame, request, upgrade_headers
from tests.support.record_client import VERSIONS, join

KIB, MIB = 1024, 1024 * 1024
LIMITED = (1011, "memory limit")
KINDS = ("half_messages", "tls", "phone_backlogs", "binary_backlogs")


def held(relay: RunningRelay, *kinds: str) -> float:
    """What the gauges say."""
    return sum(relay.value("held_bytes", kind=kind) for kind in kinds or KINDS)


def evicted(relay: RunningRelay, kind: str) -> int:
    return int(relay.value("held_bytes_evicted_total", kind=kind))


async def round_trip(binary: Peer, phone: Peer, size: int = 70_000) -> None:
    """A frame there and back; it is too large for one read of a small quota."""
    frame = json.dumps("h" * size).encode()
    phone.send_text(frame)
    envelope = await answering_pings(binary)
    assert envelope.endswith(b'"frame":%b}' % frame)
    binary.send_text(envelope)
    assert await answering_pings(phone) == frame


@asynccontextmanager
async def honest_pair(relay: RunningRelay) -> AsyncIterator[None]:
    """A pair that talks all the time; it must not notice anything."""
    binary, phone = await relay.binary("honest"), await relay.phone("honest")

    enough = False

    async def talk() -> None:
        while not enough:
            await round_trip(binary, phone)
            await asyncio.sleep(0.005)

    talking = asyncio.create_task(talk())
    try:
        yield
        enough = True
        await talking
        await round_trip(binary, phone)
    finally:
        talking.cancel()


async def crowd(relay: RunningRelay, count: int) -> list[Peer]:
    """Phones of as many tenants as are needed, all of them the attacker's."""
    peers: list[Peer] = []
    for number in range(count):
        if number % 15 == 0:
            peers.append(await relay.binary(f"crowd-{number // 15}"))
        else:
            peers.append(await relay.phone(f"crowd-{number // 15}"))
    return peers


def closed(relay: RunningRelay) -> float:
    """How many connections the relay has closed; none of them closes itself."""
    samples = relay.samples().items()
    return sum(value for (name, _), value in samples if "connections_closed_total" in name)


async def ends(
    relay: RunningRelay, peers: Sequence[Peer], others: int = 0
) -> list[tuple[int | None, str]]:
    """How the relay closed those that it has closed; close notices of phones are passed over.

    ``others``: how many it has closed that are not among ``peers``.
    """
    told: list[tuple[int | None, str]] = []

    async def end(peer: Peer) -> None:
        while (frame := await peer.frame()).opcode == TEXT:
            pass
        told.append((int.from_bytes(frame.payload[:2]), frame.payload[2:].decode()))

    reading = [asyncio.create_task(end(peer)) for peer in peers]
    await relay.until(lambda: len(told) == closed(relay) - others)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    return told


HALVES = {
    "a frame without its end": client_frame(b"x" * 120 * KIB)[: 60 * KIB],
    "fragments": client_frame(b"x" * 1000, fin=False)
    + client_frame(b"x" * 1000, 0, fin=False) * 59,
    "one message ended and the next begun": client_frame(b"1")
    + client_frame(b"x" * 120 * KIB)[: 60 * KIB],
}


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
async def test_half_messages_in_masses(half: bytes, secure: bool) -> None:
    count, budget = (60, 2 * MIB) if secure else (120, 4 * MIB)
    tls = {"tls": local_certificate()} if secure else {}
    limits = {"held_bytes": budget, "message_bytes": 128 * KIB}
    async with (
        running_relay(limits=limits, **tls) as relay,
        honest_pair(relay),
    ):
        peers = await crowd(relay, count)
        before, most = resident(), 0.0
        for peer in peers:
            peer.send(half)
        while closed(relay) < count - budget // (60 * KIB) - 5:
            most = max(most, held(relay))
            await asyncio.sleep(0.001)
        assert 0.5 * budget < most <= budget
        gone = await ends(relay, peers)
        # A phone whose binary has been evicted before its first message came is told 1000.
        assert set(gone) - {(1000, "")} == {LIMITED}
        assert evicted(relay, "half_messages") + evicted(relay, "tls") >= gone.count(LIMITED)
        assert resident() - before < budget + 6 * MIB  # and what the clients hold
        await relay.until(lambda: held(relay) <= budget)
    assert relay.log_of("held_bytes_evicted")


async def test_what_is_charged_is_what_the_memory_takes() -> None:
    async with running_relay() as relay:
        await relay.binary()
        phones = [await relay.phone() for _ in range(16)]
        whole = client_frame(b"x" * 250 * KIB)
        for phone in phones:
            for at in range(0, 200 * KIB, 4 * KIB):
                phone.send(whole[at : at + 4 * KIB])
                await asyncio.sleep(0)
        await relay.until(lambda: held(relay) >= 16 * 200 * KIB)
        partial = [connection._decoder._partial for connection in relay.relay.live]
        assert held(relay, "half_messages") == sum(map(sys.getsizeof, filter(None, partial)))
        assert held(relay) < 16 * 200 * KIB * 1.13
        for phone in phones:
            phone.send(whole[200 * KIB :])
        await relay.until(lambda: held(relay) == 0)


async def test_a_record_without_its_end_is_charged() -> None:
    async with running_relay(tls=local_certificate()) as relay:
        await relay.binary()
        for version in VERSIONS:
            phone = await join(relay, "phone", version, "s1")
            record = phone.tls.application(client_frame(b"1" * 10_000))
            phone.send_raw(record[:5_000])
            await relay.until(lambda: held(relay, "tls") > 16 * KIB)
            phone.send_raw(record[5_000:])
            await relay.until(lambda: held(relay) == 0)


async def test_what_is_kept_of_phones_that_are_not_read_over_tls_is_charged() -> None:
    async with running_relay(tls=local_certificate()) as relay:
        relay.keep_in_process(4096)
        binary, phones = await relay.binary(window=4096), [await relay.phone() for _ in range(4)]
        binary.stop_reading()
        for phone in phones:
            for _ in range(10):
                phone.send_text(json.dumps("p" * 60_000))
        await relay.until(lambda: relay.is_full("s1"))
        await relay.until(lambda: held(relay, "tls") > 0)  # of a record that is not whole
        assert relay.relay.scheduler.kept_bytes <= held(relay, "tls") + held(relay, "half_messages")
        binary.read_on()
        for _ in range(40):
            await binary.json()
        await relay.until(lambda: held(relay) == 0)


async def test_tiny_messages_to_binaries_that_do_not_read() -> None:
    count, budget = 30, 2 * MIB
    limits = {"held_bytes": budget, "message_bytes": 128 * KIB}
    async with running_relay(limits=limits) as relay, honest_pair(relay):
        relay.keep_in_process(4096)
        binaries = [await relay.binary(f"crowd-{n}", window=4096) for n in range(count)]
        phones = [await relay.phone(f"crowd-{n}") for n in range(count)]
        for binary in binaries:
            binary.stop_reading()
        most = 0.0
        for _ in range(10):
            for phone in phones:
                if not phone.writer.transport.is_closing():
                    phone.send(client_frame(b"1") * 1_000)
            most = max(most, held(relay))
            await asyncio.sleep(0.01)
        # One batch of each binary's was begun by the kernel, and cannot be dropped.
        assert budget / 2 < most <= budget + count * 96 * KIB
        gone = await ends(relay, phones)
        assert set(gone) == {LIMITED}
        assert closed(relay) == evicted(relay, "binary_backlogs") >= 5
        dropped = {"direction": "phone_to_binary", "reason": "backlog_full"}
        assert relay.value("frames_dropped_total", **dropped) > 1_000
        for binary in binaries:  # none of them was closed
            binary.read_on()
            assert (await binary.json())["frame"] == 1
        assert len(relay.log_of("server_released")) == 0


async def waiting_phone(relay: RunningRelay, binary: Peer, server_id: str) -> tuple[Peer, str]:
    """A phone that does not read, and its conn_id."""
    phone = await relay.phone(server_id, window=4096)
    phone.send_text("0")
    conn_id = (await binary.json())["conn_id"]
    phone.stop_reading()
    return phone, conn_id


async def test_a_tenant_with_many_slow_phones_evicts_none_of_another() -> None:
    limits = {"held_bytes": 10 * MIB, "phones": 100}
    async with running_relay(limits=limits) as relay:
        relay.keep_in_process(4096)
        honest, hostile = await relay.binary("honest"), await relay.binary("hostile")
        slow, slow_id = await waiting_phone(relay, honest, "honest")
        payload = "p" * 100_000
        for number in range(10):
            honest.send_json({"conn_id": slow_id, "frame": [number, payload]})
        await relay.until(lambda: held(relay) > 900_000)
        crowd = []
        for _ in range(80):
            phone, conn_id = await waiting_phone(relay, hostile, "hostile")
            crowd.append(phone)
            for _ in range(2):
                hostile.send_json({"conn_id": conn_id, "frame": payload})
            await hostile.writer.drain()
        await relay.until(lambda: evicted(relay, "phone_backlogs") > 10)
        assert held(relay) <= 10 * MIB + 80 * 110_000
        slow.read_on()
        for number in range(10):
            assert json.loads(await slow.text()) == [number, payload]
        for phone in crowd:
            phone.read_on()
        assert set(await ends(relay, crowd)) == {(1011, "phone backlog full")}


async def test_what_came_with_the_head_is_charged_while_the_binary_is_blocked() -> None:
    limits = {"held_bytes": 2 * MIB, "phones": 100, "message_bytes": 128 * KIB}
    async with running_relay(limits=limits) as relay, honest_pair(relay):
        relay.keep_in_process(4096)
        binary, phone = await relay.binary(window=4096), await relay.phone()
        binary.stop_reading()
        sending = asyncio.create_task(flood(phone))
        await relay.until(lambda: relay.is_full("s1"))
        early = []
        for _ in range(60):
            client = await relay.http()
            headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"}
            frames = client_frame(b"1" * 100) * 600
            client.send(request("/v1/client", upgrade_headers(headers)) + frames)
            assert (await client.response())[0] == 101
            relay.attempts += 1
            early.append(relay.own(Peer(client.reader, client.writer)))
        assert MIB < held(relay) < 3 * MIB
        gone = await ends(relay, early, others=1)  # the phone that floods is evicted as well
        assert set(gone) == {LIMITED}
        assert closed(relay) == evicted(relay, "binary_backlogs") > 10
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        binary.read_on()
        while relay.relay.held.binary_backlogs.total > 200_000:  # and the rest is given out
            await binary.text()


async def flood(phone: Peer) -> None:
    while True:
        phone.send_text(json.dumps("p" * 60_000))
        await phone.writer.drain()
