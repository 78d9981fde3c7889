"""A conflicting claim and what becomes of incumbent and newcomers (protocol, registry)."""

import asyncio
import os
import socket

import pytest

from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import (
    CLOSE,
    PING,
    PONG,
    Peer,
    client_frame,
    close_payload,
    request,
    upgrade_headers,
)

SOON = {"takeover_probe": 0.05}
PROBE = 100.0
"""Seconds that the relay's clock is told of."""

ACCEPT = {"endpoint": "server", "outcome": "accept"}
CONFLICT = {"endpoint": "server", "outcome": "reject_409"}


def outcomes(relay: RunningRelay) -> tuple[float, float]:
    """Claims accepted and refused so far."""
    name = "ws_upgrade_attempts_total"
    return relay.value(name, **ACCEPT), relay.value(name, **CONFLICT)


async def expect_ping(peer: Peer) -> bytes:
    frame = await peer.frame()
    assert frame.opcode == PING, frame
    return frame.payload


async def serves(binary: Peer, relay: RunningRelay) -> None:
    """The binary holds its server-id: a new phone's frame reaches it."""
    phone = await relay.phone()
    phone.send_text('"hello"')
    assert (await binary.json())["frame"] == "hello"


async def test_a_silent_incumbent_is_replaced() -> None:
    async with running_relay(intervals=SOON) as relay:
        incumbent, phone = await relay.binary(), await relay.phone()
        newcomer = await relay.binary()
        await expect_ping(incumbent)
        assert await phone.closed() == (4404, "binary reclaimed server-id")
        assert await incumbent.closed(answer=False) == (1011, "heartbeat timeout")
        await serves(newcomer, relay)
        assert outcomes(relay) == (2, 0)
        assert len(relay.log_of("server_id_takeover")) == 1


async def test_a_displaced_incumbent_arms_nothing() -> None:
    async with running_relay(intervals=SOON | {"grace": 0.02, "close": 0.02}) as relay:
        incumbent, newcomer = await relay.binary(), await relay.binary()
        await relay.until(lambda: relay.log_of("server_id_takeover"))
        await incumbent.close()
        await relay.until(lambda: len(relay.log_of("server_released")) == 1)
        await asyncio.sleep(0.06)  # three grace periods
        await serves(newcomer, relay)
        assert relay.value("grace_expiries_total") == 0


async def test_two_newcomers_and_a_silent_incumbent() -> None:
    async with running_relay(intervals=SOON) as relay:
        incumbent = await relay.binary()
        first, second = await relay.binary(), await relay.binary()
        assert await first.closed() == (1013, "try again")
        await serves(second, relay)
        await expect_ping(incumbent)
        assert await incumbent.closed() == (1011, "heartbeat timeout")  # and no second ping
        assert outcomes(relay) == (2, 1)


async def test_two_newcomers_and_a_live_incumbent() -> None:
    async with running_relay() as relay:
        incumbent = await relay.binary()
        newcomers = [await relay.binary(), await relay.binary()]
        incumbent.send(client_frame(await expect_ping(incumbent), PONG))
        for newcomer in newcomers:
            assert await newcomer.closed() == (4409, "server-id already claimed")
        await serves(incumbent, relay)
        assert outcomes(relay) == (1, 2)


async def test_an_incumbent_that_dies_during_the_probe() -> None:
    async with running_relay(intervals={"grace": 0.02}) as relay:
        incumbent, phone = await relay.binary(), await relay.phone()
        newcomer = await relay.binary()
        await expect_ping(incumbent)
        await incumbent.close()
        assert await phone.closed() == (4404, "binary reclaimed server-id")
        await asyncio.sleep(0.06)
        await serves(newcomer, relay)
        assert relay.value("grace_expiries_total") == 0
        assert outcomes(relay) == (2, 0)


async def test_an_incumbent_that_says_goodbye_during_the_probe() -> None:
    async with running_relay() as relay:
        incumbent, newcomer = await relay.binary(), await relay.binary()
        await expect_ping(incumbent)
        await incumbent.say_goodbye()
        await serves(newcomer, relay)


async def test_a_newcomer_that_leaves_during_the_probe() -> None:
    async with running_relay(intervals=SOON) as relay:
        incumbent, phone = await relay.binary(), await relay.phone()
        leaver = await relay.binary()
        await expect_ping(incumbent)
        leaver.writer.write_eof()
        await relay.until(lambda: outcomes(relay) == (1, 1))
        phone.send_text("1")  # the silent incumbent was not displaced for nobody
        assert (await incumbent.json())["frame"] == 1


async def test_the_first_newcomer_wins_when_the_second_has_left() -> None:
    async with running_relay(intervals=SOON) as relay:
        await relay.binary()
        stayer, leaver = await relay.binary(), await relay.binary()
        leaver.writer.write_eof()
        await relay.until(lambda: relay.log_of("server_id_takeover"))
        await serves(stayer, relay)
        assert outcomes(relay) == (2, 1)


async def test_a_newcomer_is_not_read_during_the_probe() -> None:
    async with running_relay() as relay:
        incumbent, phone = await relay.binary(), await relay.phone()
        phone.send_text("0")
        conn_id = (await incumbent.json())["conn_id"]
        newcomer = await relay.binary()
        newcomer.send_json({"conn_id": conn_id, "frame": "not from you"})
        newcomer.send(client_frame(b"early", PING))
        await expect_ping(incumbent)
        incumbent.send_json({"conn_id": conn_id, "frame": 1})
        assert await phone.text() == b"1"
        assert await says_nothing(newcomer)
        assert not relay.log_of("binary_forwarder_unknown_conn_id")
        await incumbent.say_goodbye()
        pong = await newcomer.frame()
        assert (pong.opcode, pong.payload) == (PONG, b"early")
        assert relay.log_of("binary_forwarder_unknown_conn_id")


async def says_nothing(peer: Peer) -> bool:
    """Whether the relay sends nothing for as long as it would take to send something."""
    try:
        async with asyncio.timeout(0.05):
            return not await peer.reader.read(1)
    except TimeoutError:
        return True


async def early_claim(relay: RunningRelay) -> Peer:
    """A claim with a ping in one packet with its request head."""
    client = await relay.http()
    headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1"}
    client.send(request("/v1/server", upgrade_headers(headers)) + client_frame(b"early", PING))
    assert (await client.response())[0] == 101
    return relay.own(Peer(client.reader, client.writer))


async def test_what_came_with_the_head_of_a_claim_is_read_when_it_has_won() -> None:
    async with running_relay() as relay:
        incumbent = await early_claim(relay)
        assert (await incumbent.frame()).payload == b"early"
        newcomer = await early_claim(relay)
        await expect_ping(incumbent)
        assert await says_nothing(newcomer)
        await incumbent.say_goodbye()
        assert (await newcomer.frame()).payload == b"early"


async def test_an_incumbent_that_is_being_closed_is_not_asked() -> None:
    async with running_relay(intervals={"takeover_probe": 1000.0}) as relay:
        incumbent, phone = await relay.binary(), await relay.phone()
        incumbent.send(client_frame(b"", masked=False))
        assert await incumbent.closed(answer=False) == (1002, "frame not masked")
        newcomer = await relay.binary()
        assert await phone.closed() == (4404, "binary reclaimed server-id")
        await serves(newcomer, relay)
        assert outcomes(relay) == (2, 0)


async def test_a_newcomer_does_not_wait_for_an_incumbent_that_is_being_closed() -> None:
    async with running_relay(intervals={"takeover_probe": 1000.0, "close": 1000.0}) as relay:
        incumbent, first = await relay.binary(), await relay.binary()
        await expect_ping(incumbent)
        incumbent.send(client_frame(b"", masked=False))
        assert await incumbent.closed(answer=False) == (1002, "frame not masked")
        await relay.until(lambda: len(relay.log_of("server_claimed")) == 2)
        await serves(first, relay)
        assert outcomes(relay) == (2, 0)


@pytest.mark.parametrize("payload", [b"", b"an old one"])
async def test_a_pong_that_echoes_no_probe_keeps_nothing(payload: bytes) -> None:
    async with running_relay(intervals={"takeover_probe": 0.2}) as relay:
        incumbent = await relay.binary()
        newcomer = await relay.binary()
        assert len(await expect_ping(incumbent)) == 16
        incumbent.send(client_frame(payload, PONG))
        assert await incumbent.closed(answer=False) == (1011, "heartbeat timeout")
        await serves(newcomer, relay)


@pytest.mark.parametrize("end", ["the end of TCP", "a close frame", "a violation"])
async def test_an_incumbent_that_dies_behind_its_pong_keeps_nothing(end: str) -> None:
    async with running_relay() as relay:
        incumbent = await relay.binary()
        newcomer = await relay.binary()
        pong = client_frame(await expect_ping(incumbent), PONG)
        if end == "a close frame":
            incumbent.send(pong + client_frame(close_payload(1000), CLOSE))
        elif end == "a violation":
            incumbent.send(pong + client_frame(b"", masked=False))
        else:
            descriptor = incumbent.writer.get_extra_info("socket").fileno()
            with socket.socket(fileno=os.dup(descriptor)) as sock:  # both at once
                sock.send(pong)
                sock.shutdown(socket.SHUT_WR)
        await relay.until(lambda: len(relay.log_of("server_claimed")) == 2)
        await serves(newcomer, relay)
        assert outcomes(relay) == (2, 0)


async def test_each_probe_has_a_payload_of_its_own() -> None:
    async with running_relay() as relay:
        incumbent = await relay.binary()
        seen = set()
        for _ in range(3):
            newcomer = await relay.binary()
            payload = await expect_ping(incumbent)
            seen.add(payload)
            incumbent.send(client_frame(payload, PONG))
            assert await newcomer.closed() == (4409, "server-id already claimed")
        assert len(seen) == 3


async def test_bytes_of_the_incumbent_extend_the_probe_and_not_without_end() -> None:
    async with running_relay(intervals={"takeover_probe": PROBE}) as relay:
        incumbent = await relay.binary()
        received = relay.relay.router.context.counters.frames.binary_to_phone

        async def bytes_before_the_timeout() -> None:
            before = received.received
            incumbent.send_text("{}")
            await relay.until(lambda: received.received == before + 1)
            await relay.pass_time(PROBE)

        newcomer = await relay.binary()
        payload = await expect_ping(incumbent)
        await bytes_before_the_timeout()
        await bytes_before_the_timeout()
        assert not relay.log_of("server_id_takeover")
        incumbent.send(client_frame(payload, PONG))
        assert await newcomer.closed() == (4409, "server-id already claimed")

        newcomer = await relay.binary()
        await expect_ping(incumbent)
        for _ in range(3):
            assert not relay.log_of("server_id_takeover")
            await bytes_before_the_timeout()
        assert relay.log_of("server_id_takeover")
        await serves(newcomer, relay)


async def flooded(relay: RunningRelay) -> tuple[Peer, Peer]:
    """An incumbent that does not read, with more for it than kernels take, and its phone."""
    incumbent, phone = await relay.binary(window=65536), await relay.phone()
    incumbent.stop_reading()
    for _ in range(30):
        phone.send_text('"' + "f" * 100_000 + '"')
    up = {"direction": "phone_to_binary"}
    await relay.until(lambda: relay.value("frames_received_total", **up) > 5)
    await asyncio.sleep(0.1)
    return incumbent, phone


async def test_an_incumbent_that_takes_what_was_before_the_probe_gets_more_time() -> None:
    async with running_relay(intervals={"takeover_probe": PROBE}) as relay:
        incumbent, _ = await flooded(relay)
        newcomer = await relay.binary()
        connection = relay.binary_of("s1").connection
        before = connection.tcp_bytes().acknowledged
        incumbent.read_on()
        await relay.until(lambda: connection.tcp_bytes().acknowledged > before)
        incumbent.stop_reading()
        await relay.pass_time(PROBE)
        assert not relay.log_of("server_id_takeover")
        incumbent.read_on()
        while (frame := await incumbent.frame()).opcode != PING:
            pass
        incumbent.send(client_frame(frame.payload, PONG))
        assert await newcomer.closed() == (4409, "server-id already claimed")


async def test_an_incumbent_that_takes_the_probe_and_no_more_gets_no_more_time() -> None:
    async with running_relay(intervals={"takeover_probe": PROBE}) as relay:
        incumbent = await relay.binary()
        connection = relay.binary_of("s1").connection
        await relay.until(lambda: not connection.unacknowledged())
        acknowledged = connection.tcp_bytes().acknowledged
        incumbent.stop_reading()  # its kernel acknowledges the ping
        newcomer = await relay.binary()
        await relay.until(lambda: connection.tcp_bytes().acknowledged > acknowledged)
        await relay.pass_time(PROBE)
        assert relay.log_of("server_id_takeover")
        await serves(newcomer, relay)


async def attempt(relay: RunningRelay, path: str, behind: bytes, *, fin: bool = False) -> Peer:
    """A claim or registration with bytes in one packet with its request head."""
    client = await relay.http()
    headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1", "X-Pyrycode-Token": "t"}
    client.send(request(path, upgrade_headers(headers)) + behind)
    if fin:
        client.writer.write_eof()
    assert (await client.response())[0] == 101
    return relay.own(Peer(client.reader, client.writer))


async def test_a_close_frame_behind_the_head_of_a_refused_attempt_ends_it() -> None:
    async with running_relay(intervals={"close": 1000.0}) as relay:
        peer = await attempt(relay, "/v1/client", client_frame(close_payload(1000), CLOSE))
        assert (await peer.frame()).opcode == CLOSE
        assert await peer.at_eof()


@pytest.mark.parametrize("fin", [False, True])
@pytest.mark.parametrize("what", ["close", "violation"])
@pytest.mark.parametrize("path", ["/v1/client", "/v1/server", "full"])
async def test_frames_behind_the_head_of_a_refused_attempt(path: str, what: str, fin: bool) -> None:
    behind = client_frame(close_payload(1000), CLOSE)
    if what == "violation":
        behind = client_frame(b"", masked=False)
    limits = {"phones": 0 if path == "full" else 16}
    async with running_relay(intervals={"close": 1000.0}, limits=limits) as relay:
        expected = 4404
        if path == "full":
            await relay.binary()
            path, expected = "/v1/client", 4429
        if path == "/v1/server":
            incumbent = await relay.binary()
        peer = await attempt(relay, path, behind, fin=fin and path == "/v1/client")
        if path == "/v1/server":
            incumbent.send(client_frame(await expect_ping(incumbent), PONG))
            expected = 4409
        frame = await peer.frame()
        assert (frame.opcode, frame.payload[:2]) == (CLOSE, expected.to_bytes(2))
        assert await peer.at_eof()


async def test_what_a_displaced_incumbent_still_says_goes_nowhere() -> None:
    async with running_relay(intervals=SOON) as relay:
        incumbent, _ = await relay.binary(), await relay.binary()
        await expect_ping(incumbent)
        assert await incumbent.closed(answer=False) == (1011, "heartbeat timeout")
        phone = await relay.phone()
        await relay.until(lambda: relay.log_of("phone_registered"))
        (line,) = relay.log_of("phone_registered")
        conn_id = line.split("conn_id=")[1].split()[0]
        incumbent.send_json({"conn_id": conn_id, "frame": 1})
        closing = {"direction": "binary_to_phone", "reason": "closing"}
        await relay.until(lambda: relay.value("frames_dropped_total", **closing) == 1)
        assert await says_nothing(phone)


async def test_a_probe_that_is_over_leaves_no_timer() -> None:
    async with running_relay() as relay:
        incumbent = await relay.binary()
        before = relay.timers
        newcomer = await relay.binary()
        assert relay.timers == before + 2
        incumbent.send(client_frame(await expect_ping(incumbent), PONG))
        assert await newcomer.closed() == (4409, "server-id already claimed")
        assert await newcomer.at_eof()
        await relay.until(lambda: relay.timers == before)


@pytest.mark.parametrize("first", ["incumbent", "newcomer"])
async def test_a_drain_during_the_probe(first: str) -> None:
    async with running_relay() as relay:
        incumbent, newcomer = await relay.binary(), await relay.binary()
        await expect_ping(incumbent)
        draining = asyncio.create_task(relay.drain())
        for peer in (incumbent, newcomer) if first == "incumbent" else (newcomer, incumbent):
            frame = await peer.frame()
            assert frame.opcode == CLOSE
            assert frame.payload == close_payload(1001, "shutting down")
            peer.send(client_frame(frame.payload, CLOSE))
            assert await peer.at_eof()
        await draining
        assert relay.live == 0
        assert outcomes(relay) == (1, 1)
