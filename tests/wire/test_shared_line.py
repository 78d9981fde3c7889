"""Phones of one binary share its line: a flood of one adds little to the way of another's frame."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.support.harness import SECURE, RunningRelay, running_relay
from tests.support.peer import CLOSE, Peer, client_frame, close_payload

KIB = 1024
RATE = 16 * 1024 * KIB
"""Bytes a second that the binary reads; how long that takes is not asserted."""


async def slow_binary(relay: RunningRelay) -> Peer:
    """A binary between which and the relay little is on the way, in sockets and stream."""
    relay.keep_in_process(4 * KIB)
    binary = await relay.binary(window=4 * KIB)
    binary.reader._limit = 4 * KIB
    return binary


async def conn_id_of(phone: Peer, binary: Peer) -> str:
    phone.send_text('"who"')
    return str((await binary.json())["conn_id"])


async def flood(phone: Peer, message: bytes, count: int) -> None:
    frames = client_frame(message) * count
    while True:
        phone.send(frames)
        await phone.writer.drain()


async def envelopes(binary: Peer) -> AsyncIterator[tuple[str, object, int]]:
    """What the binary reads at its rate: conn_id, frame and size."""
    while True:
        text = await binary.text()
        await asyncio.sleep(len(text) / RATE)
        envelope = json.loads(text)
        yield envelope["conn_id"], envelope.get("frame"), len(text)


FLOODS = {"large": (b'"' + b"f" * 250_000 + b'"', 1), "small": (b'"' + b"f" * 200 + b'"', 1_000)}


@pytest.mark.parametrize("siblings", [1, 6])
@pytest.mark.parametrize("kind", FLOODS)
async def test_a_frame_overtakes_all_but_one_frame_of_each_sibling(
    kind: str, siblings: int
) -> None:
    async with running_relay() as relay:
        binary = await slow_binary(relay)
        honest = await relay.phone()
        honest_id = await conn_id_of(honest, binary)
        others = [await relay.phone() for _ in range(siblings)]
        message, count = FLOODS[kind]
        floods = [asyncio.create_task(flood(other, message, count)) for other in others]
        try:
            await relay.until(lambda: relay.is_full("s1", phones=siblings))
            read = envelopes(binary)
            for number in range(3):
                for _ in range(number * 5):
                    await anext(read)
                received = relay.value("frames_received_total", direction="phone_to_binary")
                honest.send_text(f'"honest {number}"')
                before = 0
                async for conn_id, frame, size in read:
                    if conn_id == honest_id:
                        assert frame == f"honest {number}"
                        break
                    before += size
                # What the transport and the sockets have, and one frame or turn of each sibling.
                on_the_way = (3 if SECURE.get() else 2) * 256 * KIB  # the client's TLS reads on
                assert before <= on_the_way + siblings * (len(message) + 16 * KIB)
                assert relay.value("frames_received_total", direction="phone_to_binary") > received
        finally:
            for task in floods:
                task.cancel()
            await asyncio.gather(*floods, return_exceptions=True)


async def test_a_flood_that_leaves_gets_its_notice_behind_its_last_frame() -> None:
    async with running_relay() as relay:
        binary = await slow_binary(relay)
        stays, leaves = await relay.phone(), await relay.phone()
        left_id = await conn_id_of(leaves, binary)
        await fill(relay, binary, stays)
        frames = [client_frame(json.dumps([n, "p" * 200]).encode()) for n in range(15)]
        leaves.send(b"".join(frames) + client_frame(close_payload(1000), CLOSE))
        await relay.until(lambda: len(relay.phones_of("s1")) == 1)
        held = relay.relay.held.binary_backlogs
        assert held.total > 100 * KIB
        binary.read_on()
        seen = []
        while True:
            envelope = await binary.json()
            if envelope["conn_id"] != left_id:
                continue
            if "close_code" in envelope:
                break
            seen.append(envelope["frame"][0])
        assert seen == list(range(15))


async def test_what_a_phone_leaves_behind_is_charged_to_it_and_can_be_evicted() -> None:
    limits = {"held_bytes": 1024 * KIB}
    async with running_relay(limits=limits) as relay:
        binary = await slow_binary(relay)
        binary.stop_reading()
        goodbye = client_frame(close_payload(1000), CLOSE)
        for _ in range(40):
            phone = await relay.phone()
            await relay.until(lambda: len(relay.phones_of("s1")) == 1)
            # What it sends in one packet is read at once, and so its end is seen.
            phone.send(client_frame(json.dumps("p" * 60_000).encode()) + goodbye)
            await relay.until(lambda: not relay.phones_of("s1"))
        held = relay.relay.held.binary_backlogs
        assert held.evicted >= 10
        assert held.total < 1300 * KIB
        dropped = {"direction": "phone_to_binary", "reason": "backlog_full"}
        assert relay.value("frames_dropped_total", **dropped) == held.evicted


async def fill(relay: RunningRelay, binary: Peer, phone: Peer) -> None:
    """Let ``phone`` bring the backlog of a binary that does not read to its limit."""
    binary.stop_reading()
    for _ in range(12):
        phone.send_text(json.dumps("p" * 60_000))
    await relay.until(lambda: relay.is_full("s1"))
