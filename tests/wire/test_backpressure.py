"""Slow readers on either side: who waits, who is closed, and who notices nothing."""

import asyncio
import json
import tracemalloc

from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import Peer, client_frame, request, upgrade_headers

UP, DOWN = {"direction": "phone_to_binary"}, {"direction": "binary_to_phone"}
KIB, MIB = 1024, 1024 * 1024
PAYLOAD = "p" * 100_000
NO_BUDGET = {"phone_backlog_bytes": 2**30, "held_bytes": 2**30}


async def conn_id_of(phone: Peer, binary: Peer) -> str:
    phone.send_text("0")
    return str((await binary.json())["conn_id"])


async def send_numbered(peer: Peer, frames: int) -> None:
    for number in range(frames):
        peer.send_json([number, PAYLOAD])
        await peer.writer.drain()


def give(binary: Peer, conn_id: str, frames: int) -> None:
    for number in range(frames):
        binary.send_json({"conn_id": conn_id, "frame": [number, PAYLOAD]})


async def test_phones_of_a_stalled_binary_wait_and_lose_nothing() -> None:
    async with running_relay() as relay:
        binary, other_binary = await relay.binary(window=4096), await relay.binary("s2")
        phones = [await relay.phone() for _ in range(16)]
        other = await relay.phone("s2")
        binary.stop_reading()
        sending = [asyncio.create_task(send_numbered(phone, 20)) for phone in phones]
        await relay.until(lambda: relay.is_full("s1", phones=16))
        other.send_text('"not my problem"')
        assert (await other_binary.json())["frame"] == "not my problem"
        assert relay.value("frames_received_total", **UP) < 320
        late = await relay.phone("s2")  # and a phone of somebody else is read at once
        late.send_text("1")
        assert (await other_binary.json())["frame"] == 1
        # More than that is not held: beyond the limit, one read of each phone at most.
        assert relay.binary_of("s1").connection.unsent < (1 + 16) * 256 * KIB

        binary.read_on()
        seen: dict[str, int] = {}
        for _ in range(320):
            envelope = await binary.json()
            number, payload = envelope["frame"]
            assert payload == PAYLOAD
            assert number == seen.get(envelope["conn_id"], -1) + 1
            seen[envelope["conn_id"]] = number
        assert list(seen.values()) == [19] * 16
        await asyncio.gather(*sending)
        assert relay.value("frames_forwarded_total", **UP) == 322


async def test_a_phone_that_comes_while_the_binary_is_stalled_waits_too() -> None:
    async with running_relay() as relay:
        binary, phone = await relay.binary(window=4096), await relay.phone()
        binary.stop_reading()
        sending = asyncio.create_task(send_numbered(phone, 100))
        await relay.until(lambda: relay.is_full("s1"))
        late = await relay.phone()
        late.send_text('"late"')
        await relay.until(lambda: len(relay.log_of("phone_registered")) == 2)
        binary.read_on()
        frames = [(await binary.json())["frame"] for _ in range(101)]
        assert frames.count("late") == 1
        await sending


async def test_what_came_with_the_head_has_its_turn_like_the_rest() -> None:
    async with running_relay() as relay:
        binary, phone = await relay.binary(window=4096), await relay.phone()
        binary.stop_reading()
        sending = asyncio.create_task(send_numbered(phone, 100))
        await relay.until(lambda: relay.is_full("s1"))
        early = [await phone_with_early_frames(relay, name) for name in "abc"]
        assert len(relay.phones_of("s1")) == 4
        await relay.until(lambda: relay.is_full("s1", phones=4))
        early[1].send_text('"b later"')
        binary.read_on()
        frames = [(await binary.json())["frame"] for _ in range(107)]
        told = [frame for frame in frames if isinstance(frame, str)]
        for name in "ac":
            assert [text for text in told if text[0] == name] == [
                name + "1" + PAYLOAD,
                name + "2" + PAYLOAD,
            ]
        assert [text[:2] for text in told if text[0] == "b"] == ["b1", "b2", "b "]
        await sending


async def phone_with_early_frames(relay: RunningRelay, name: str) -> Peer:
    """A registered phone that has sent two frames in one packet with its request head."""
    client = await relay.http()
    headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"}
    frames = [client_frame(json.dumps(f"{name}{n}{PAYLOAD}").encode()) for n in (1, 2)]
    client.send(request("/v1/client", upgrade_headers(headers)) + b"".join(frames))
    assert (await client.response())[0] == 101
    return relay.own(Peer(client.reader, client.writer))


async def test_answers_that_were_never_read_are_a_backlog_too() -> None:
    limits = {"phone_backlog_bytes": 300 * KIB}
    async with running_relay(limits=limits, intervals={"close": 0.2}) as relay:
        binary = await relay.binary()
        relay.keep_in_process(2048)
        client = await relay.http(window=1024)
        client.stop_reading()
        headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"}
        upgrade = request("/v1/client", upgrade_headers(headers)) + client_frame(b"1")
        client.send(request("/healthz") * 99 + upgrade)
        conn_id = (await binary.json())["conn_id"]
        give(binary, conn_id, 10)
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        assert relay.value("frames_dropped_total", **DOWN, reason="backlog_full") > 0
        await relay.until(lambda: relay.buffered == 0)


async def test_a_phone_that_is_not_read_is_closed_like_any_other() -> None:
    async with running_relay(intervals={"close": 1000.0}) as relay:
        binary, phone = await relay.binary(window=4096), await relay.phone()
        conn_id = await conn_id_of(phone, binary)
        binary.stop_reading()
        sending = asyncio.create_task(send_numbered(phone, 100))
        await relay.until(lambda: relay.is_full("s1"))
        binary.send_json({"conn_id": conn_id, "close_code": 4401})
        assert await phone.closed() == (4401, "")
        await asyncio.gather(sending, return_exceptions=True)
        await relay.until(lambda: relay.live == 1)


async def test_phones_are_read_again_when_their_stalled_binary_dies() -> None:
    async with running_relay(intervals={"write": 0.1}) as relay:
        binary, phone = await relay.binary(window=4096), await relay.phone()
        binary.stop_reading()
        sending = asyncio.create_task(send_numbered(phone, 200))
        assert await phone.closed() == (1000, "")
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_phone_over_its_budget_is_closed_and_its_siblings_get_all() -> None:
    async with running_relay() as relay:
        binary = await relay.binary()
        slow, quick = await relay.phone(window=4096), await relay.phone()
        slow_id, quick_id = await conn_id_of(slow, binary), await conn_id_of(quick, binary)
        slow.stop_reading()
        give(binary, slow_id, 150)
        give(binary, quick_id, 50)
        for number in range(50):
            assert json.loads(await quick.text()) == [number, PAYLOAD]
        slow.read_on()
        got = 0
        while (frame := await slow.frame()).opcode == 1:
            assert json.loads(frame.payload) == [got, PAYLOAD]
            got += 1
        assert frame.payload == b"\x03\xf3phone backlog full"
        await slow.close()
        assert await binary.json() == {"conn_id": slow_id, "close_code": 1001}
        dropped = relay.value("frames_dropped_total", **DOWN, reason="backlog_full")
        late = relay.value("frames_dropped_total", **DOWN, reason="no_peer")
        assert dropped > 30
        assert got + dropped + late == 150


async def test_the_budget_is_four_mebibytes_of_what_this_process_holds() -> None:
    async with running_relay() as relay:
        binary, phone = await relay.binary(), await relay.phone(window=4096)
        conn_id = await conn_id_of(phone, binary)
        phone.stop_reading()
        most = 0
        for number in range(150):
            give(binary, conn_id, 1)
            await relay.until(
                lambda n=number: relay.value("frames_received_total", **DOWN) == n + 1
            )
            most = max(most, relay.buffered)
            if relay.value("frames_dropped_total", **DOWN, reason="closing"):
                break
        assert 4 * MIB - 110_000 < most <= 4 * MIB
        assert relay.buffered <= 110_000  # what the kernel had begun to take


async def test_what_is_charged_is_what_is_held() -> None:
    async with running_relay() as relay:
        binary, phone = await relay.binary(), await relay.phone(window=4096)
        conn_id = await conn_id_of(phone, binary)
        phone.stop_reading()
        give(binary, conn_id, 30)
        await relay.until(lambda: relay.value("frames_received_total", **DOWN) == 30)
        await asyncio.sleep(0.3)  # the kernel takes what it can
        before = relay.buffered
        tracemalloc.start()
        # A frame is a part of its envelope, and unknown fields are tolerated there.
        envelope = {"conn_id": conn_id, "frame": "f" * 40_000, "unknown": "u" * 200_000}
        for number in range(20):
            binary.send_json(envelope)
            await binary.writer.drain()
            await relay.until(
                lambda n=number: relay.value("frames_received_total", **DOWN) == 31 + n
            )
        held = sum(
            trace.size
            for trace in tracemalloc.take_snapshot().traces
            if "/fastrelay/" in trace.traceback[-1].filename
        )
        tracemalloc.stop()
        assert 20 * 40_000 < relay.buffered - before < 20 * 41_000
        assert held < 20 * 41_000


async def test_a_directive_that_overflows_closes_with_its_own_code() -> None:
    # Room for one frame when another waits, never for two more.
    small = {"phone_backlog_bytes": 220_000}
    async with running_relay(limits=small) as relay:
        binary, phone = await relay.binary(), await relay.phone(window=4096)
        conn_id = await conn_id_of(phone, binary)
        phone.stop_reading()
        number = 0
        while relay.buffered < 100_000:
            number += 1
            give(binary, conn_id, 1)
            await relay.until(lambda n=number: relay.value("frames_received_total", **DOWN) == n)
        binary.send_json({"conn_id": conn_id, "frame": PAYLOAD * 2, "close_code": 4426})
        await relay.until(lambda: relay.log_of("binary_forwarder_phone_closed"))
        phone.read_on()
        while (frame := await phone.frame()).opcode == 1:
            pass
        assert frame.payload == b"\x11\x4a"
        await phone.close()
        await relay.until(
            lambda: relay.value("frames_dropped_total", **DOWN, reason="backlog_full") >= 1
        )


async def test_over_the_common_budget_the_largest_backlog_goes_first() -> None:
    limits = {"phone_backlog_bytes": 2**30, "held_bytes": 4 * MIB}
    async with running_relay(limits=limits) as relay:
        binary = await relay.binary()
        small, large = await relay.phone(window=4096), await relay.phone(window=4096)
        small_id, large_id = await conn_id_of(small, binary), await conn_id_of(large, binary)
        for phone in (small, large):
            phone.stop_reading()
        for conn_id, enough in ((small_id, MIB), (large_id, 2 * MIB)):
            start = relay.buffered
            while start <= relay.buffered < start + enough:
                received = relay.value("frames_received_total", **DOWN)
                give(binary, conn_id, 1)
                await relay.until(
                    lambda n=received: relay.value("frames_received_total", **DOWN) == n + 1
                )
        give(binary, large_id, 15)
        # Who reads before all have come makes room, and nothing is over the budget.
        await relay.until(lambda: relay.relay.held.phone_backlogs.evicted == 1)
        large.read_on()
        while (frame := await large.frame()).opcode == 1:
            pass
        assert frame.payload == b"\x03\xf3phone backlog full"
        small.read_on()
        binary.send_json({"conn_id": small_id, "frame": "end"})
        while await small.text() != b'"end"':
            pass


async def test_a_reader_that_catches_up_gives_its_budget_back() -> None:
    async with running_relay(limits=NO_BUDGET) as relay:
        binary, phone = await relay.binary(), await relay.phone(window=4096)
        conn_id = await conn_id_of(phone, binary)
        for _ in range(2):
            phone.stop_reading()
            give(binary, conn_id, 100)
            await relay.until(lambda: relay.buffered > MIB)
            phone.read_on()
            for number in range(100):
                assert json.loads(await phone.text()) == [number, PAYLOAD]
            await relay.until(lambda: relay.buffered == 0)
        on_the_wire = 0
        for number in (*range(100), *range(100)):
            on_the_wire += len(json.dumps([number, PAYLOAD])) + 10
        assert relay.value("forwarded_bytes_total", **DOWN) == on_the_wire


async def test_a_directive_waits_behind_what_a_slow_phone_has_not_read() -> None:
    async with running_relay(limits=NO_BUDGET) as relay:
        binary, phone = await relay.binary(), await relay.phone(window=4096)
        conn_id = await conn_id_of(phone, binary)
        phone.stop_reading()
        give(binary, conn_id, 100)
        binary.send_json({"conn_id": conn_id, "frame": "last", "close_code": 4401})
        await relay.until(lambda: relay.log_of("binary_forwarder_phone_closed"))
        phone.read_on()
        for number in range(100):
            assert json.loads(await phone.text()) == [number, PAYLOAD]
        assert await phone.text() == b'"last"'
        assert await phone.closed() == (4401, "")
