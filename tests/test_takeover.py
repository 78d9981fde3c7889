"""A conflicting claim and what becomes of incumbent and newcomers (protocol, registry)."""

import asyncio

from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import CLOSE, PING, PONG, Peer, client_frame, close_payload

SOON = {"takeover_probe": 0.05}
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
        assert await second.closed() == (4409, "server-id already claimed")
        await serves(first, relay)
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


async def test_the_second_newcomer_wins_when_the_first_has_left() -> None:
    async with running_relay(intervals=SOON) as relay:
        await relay.binary()
        leaver, stayer = await relay.binary(), await relay.binary()
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
        await incumbent.say_goodbye()
        pong = await newcomer.frame()
        assert (pong.opcode, pong.payload) == (PONG, b"early")
        assert relay.log_of("binary_forwarder_unknown_conn_id")


async def test_a_drain_during_the_probe() -> None:
    async with running_relay() as relay:
        incumbent, newcomer = await relay.binary(), await relay.binary()
        await expect_ping(incumbent)
        draining = asyncio.create_task(relay.relay.drain())
        for peer in (incumbent, newcomer):
            frame = await peer.frame()
            assert frame.opcode == CLOSE
            assert frame.payload == close_payload(1001, "shutting down")
            peer.send(client_frame(frame.payload, CLOSE))
            assert await peer.at_eof()
        await draining
        assert relay.live == 0
        assert outcomes(relay) == (1, 1)
