"""Frames without use are bounded, and pings are answered before anything else of their read."""

import json

import pytest

from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import CLOSE, PING, PONG, TEXT, Peer, client_frame

USELESS = (1008, "too many useless frames")
FEW = {"useless_frames": 50, "useless_refill": 1.0}


async def peer_of(relay: RunningRelay, side: str) -> Peer:
    """A phone or a binary of the server-id ``s1``."""
    if side == "binary":
        return await relay.binary()
    await relay.binary()
    return await relay.phone()


@pytest.mark.parametrize("side", ["phone", "binary"])
@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_control_frames_in_masses_end_the_connection(side: str, opcode: int) -> None:
    async with running_relay(limits=FEW) as relay:
        peer = await peer_of(relay, side)
        peer.send(client_frame(b"x", opcode) * 51)
        while (frame := await peer.frame()).opcode == PONG:
            pass
        assert (frame.opcode, frame.payload) == (CLOSE, b"\x03\xf0too many useless frames")
        name = "connections_closed_total"
        assert relay.value(name, side=side, cause="useless_frames", code="1xxx") == 1


async def test_empty_fragments_in_masses_end_the_connection() -> None:
    async with running_relay(limits=FEW) as relay:
        phone = await peer_of(relay, "phone")
        phone.send(client_frame(b"[", TEXT, fin=False))
        phone.send(client_frame(b"", 0, fin=False) * 51)
        assert await phone.closed() == USELESS


@pytest.mark.parametrize("envelope", [b"[]", b"{", b"{}", b'{"conn_id":"x"}'])
async def test_envelopes_that_ask_for_nothing_end_the_binary(envelope: bytes) -> None:
    async with running_relay(limits=FEW) as relay:
        binary = await relay.binary()
        binary.send(client_frame(envelope) * 51)
        assert await binary.closed() == USELESS
        assert relay.value("frames_dropped_total", direction="binary_to_phone", reason="invalid")


async def test_unknown_phones_and_repeated_directives_never_count() -> None:
    async with running_relay(limits=FEW) as relay:
        binary, phone, sibling = await relay.binary(), await relay.phone(), await relay.phone()
        ids = []
        for peer in (phone, sibling):
            peer.send_text("1")
            ids.append((await binary.json())["conn_id"])
        close = json.dumps({"conn_id": ids[0], "close_code": 4401}).encode()
        unknown = json.dumps({"conn_id": "client-s1-gone", "frame": 1}).encode()
        binary.send((client_frame(close) + client_frame(unknown)) * 200)
        binary.send_json({"conn_id": ids[1], "frame": "still here"})
        assert await sibling.json() == "still here"


async def test_a_peer_regains_what_it_does_not_send() -> None:
    limits = {"useless_frames": 50, "useless_refill": 10_000.0}
    async with running_relay(limits=limits) as relay:
        phone = await peer_of(relay, "phone")
        for _ in range(5):
            phone.send(client_frame(b"", PONG) * 40)
            tick = relay.relay.wheel.now
            await relay.until(lambda tick=tick: relay.relay.wheel.now > tick + 0.01)
        phone.send(client_frame(b"p", PING))
        assert (await phone.frame()).payload == b"p"


async def test_pings_of_a_read_come_before_its_messages_and_before_its_end() -> None:
    async with running_relay() as relay:
        phone = await peer_of(relay, "phone")
        phone.send(client_frame(b"no JSON") + client_frame(b"owed", PING))
        pong, close = await phone.frame(), await phone.frame()
        assert (pong.opcode, pong.payload) == (PONG, b"owed")
        assert close.opcode == CLOSE


async def test_a_ping_behind_our_close_frame_is_not_answered() -> None:
    async with running_relay() as relay:
        phone = await peer_of(relay, "phone")
        phone.send(client_frame(b"no JSON"))
        assert (await phone.frame()).opcode == CLOSE
        phone.send(client_frame(b"late", PING) + client_frame(b"\x03\xe8", CLOSE))
        assert await phone.at_eof()


async def test_sixteen_pings_of_a_read_are_answered_and_the_last() -> None:
    async with running_relay() as relay:
        phone = await peer_of(relay, "phone")
        phone.send(b"".join(client_frame(b"%d" % number, PING) for number in range(40)))
        answered = [int((await phone.frame()).payload) for _ in range(17)]
        assert answered == [*range(16), 39]
