"""What a relay has to do with a peer that is in the middle of a TLS handshake message.

It cannot be written to. All that concerns others as well (the end of the relay, of a grace, of a
claim, of a heartbeat) must be done for them as if it were not there.
"""

import asyncio
import json

import pytest

from tests.support.certificates import local_certificate
from tests.support.harness import RunningRelay, running_relay
from tests.support.hurting import hurt_relay, nothing_left
from tests.support.peer import CLOSE, PING, PONG, Frame, Peer, client_frame, close_payload
from tests.support.record_client import SIDES, VERSIONS, RecordPeer, join
from tests.support.tls_scene import (
    PROBE,
    Fate,
    after_probes,
    complete,
    conn_id_of,
    ends,
    inside_a_message,
    numbers,
    stop_binary,
    stop_phone,
)

BOTH = [(version, side) for version in VERSIONS for side in SIDES]
RECLAIMED = (4404, "binary reclaimed server-id")


async def a_stopped_phone_and_four_later(
    relay: RunningRelay, version: str
) -> tuple[Peer, RecordPeer, bytes, list[Peer]]:
    """A binary, an evil phone and the rest of its message, and phones registered after it."""
    binary, evil = await relay.binary(), await join(relay, "phone", version, "s1")
    conn_id = await conn_id_of(binary, evil)
    later = [await relay.phone() for _ in range(4)]
    rest = await stop_phone(relay, binary, evil, conn_id, version)
    return binary, evil, rest, later


async def a_stopped_binary(relay: RunningRelay, version: str) -> tuple[RecordPeer, bytes, Peer]:
    """An evil binary, the rest of its message, and its phone."""
    evil, phone = await join(relay, "binary", version, "s1"), await relay.phone()
    await conn_id_of(evil, phone)
    return evil, await stop_binary(relay, evil, phone, version), phone


async def closed_after_probes(peer: Peer) -> tuple[int | None, str]:
    """The close frame behind the probes and pings."""
    while (frame := await peer.frame()).opcode != CLOSE:
        assert frame.opcode == PING or PROBE.encode() in frame.payload, frame
    return int.from_bytes(frame.payload[:2]), frame.payload[2:].decode()


async def serves(binary: Peer, relay: RunningRelay) -> None:
    """The binary holds its server-id: a new phone's frame reaches it, and its answer the phone."""
    phone = await relay.phone()
    conn_id = await conn_id_of(binary, phone)
    binary.send_json({"conn_id": conn_id, "frame": "welcome"})
    assert await phone.json() == "welcome"


@pytest.mark.parametrize(("version", "side"), BOTH)
async def test_the_drain_tells_everybody_else(version: str, side: str) -> None:
    intervals = {"drain": 0.5, "close": 5.0, "grace": 0.05}
    async with running_relay(intervals=intervals, tls=local_certificate()) as relay:
        honest = [await relay.binary("first"), await relay.phone("first")]
        if side == "phone":
            binary, _, _, later = await a_stopped_phone_and_four_later(relay, version)
            own = [binary, *later]
        else:
            _, _, phone = await a_stopped_binary(relay, version)
            own = [phone]
        for number in range(4):
            honest += [await relay.binary(f"t{number}"), await relay.phone(f"t{number}")]
        draining = asyncio.create_task(relay.drain())
        for peer in (*honest, *own):
            assert await peer.closed() == (1001, "shutting down")
            assert await peer.at_eof()
        await draining  # the stopped peer cannot be told
        await relay.close_clients()
        await nothing_left(relay)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_reclaim_evicts_every_phone(version: str) -> None:
    async with hurt_relay({"grace": 1.0}, tls=local_certificate()) as relay:
        binary, evil, rest, later = await a_stopped_phone_and_four_later(relay, version)
        await binary.close()
        await relay.until(lambda: relay.log_of("server_released"))
        back = await relay.binary()
        for phone in later:
            assert await phone.closed() == RECLAIMED
        await serves(back, relay)
        complete(evil, version, rest)
        assert await closed_after_probes(evil) == RECLAIMED


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_end_of_grace_closes_every_phone(version: str) -> None:
    async with hurt_relay({"tls_stall": 1.0}, tls=local_certificate()) as relay:
        binary, evil, _, later = await a_stopped_phone_and_four_later(relay, version)
        await binary.close()
        for phone in later:
            assert await phone.closed() == (1000, "")
        assert relay.value("grace_expiries_total") == 1
        await evil.hung_up()  # its time is over
        await serves(await relay.binary(), relay)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_silent_evil_binary_loses_its_server_id(version: str) -> None:
    async with hurt_relay({"takeover_probe": 0.1}, tls=local_certificate()) as relay:
        evil, rest, phone = await a_stopped_binary(relay, version)
        daemon = await relay.binary()
        assert await phone.closed() == RECLAIMED
        await serves(daemon, relay)
        assert len(relay.log_of("server_id_takeover")) == 1
        complete(evil, version, rest)
        assert await closed_after_probes(evil) == (1011, "heartbeat timeout")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_binary_that_stays_stopped_is_gone_for_good(version: str) -> None:
    async with hurt_relay({"tls_stall": 0.2, "grace": 1.0}, tls=local_certificate()) as relay:
        evil, _, phone = await a_stopped_binary(relay, version)
        await evil.hung_up()
        await relay.until(lambda: ends(relay, "binary")[Fate.STALLS] == 1)
        daemon = await relay.binary()
        assert await phone.closed() == RECLAIMED
        await serves(daemon, relay)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_directive_is_carried_out_behind_what_is_held(version: str) -> None:
    """Its sibling is not kept waiting, and the phone is told once it can be."""
    async with hurt_relay(tls=local_certificate()) as relay:
        binary, evil = await relay.binary(), await join(relay, "phone", version, "s1")
        sibling = await relay.phone()
        evil_id, sibling_id = [await conn_id_of(binary, phone) for phone in (evil, sibling)]
        rest = await stop_phone(relay, binary, evil, evil_id, version)
        binary.send_json({"conn_id": evil_id, "frame": 1, "close_code": 4401})
        binary.send_json({"conn_id": sibling_id, "frame": 0})
        await numbers(sibling, 1)
        await serves(binary, relay)
        complete(evil, version, rest)
        assert await after_probes(evil) == 1
        assert await evil.closed() == (4401, "")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_directive_to_a_phone_that_stays_stopped(version: str) -> None:
    async with hurt_relay({"tls_stall": 0.2}, tls=local_certificate()) as relay:
        binary, evil = await relay.binary(), await join(relay, "phone", version, "s1")
        conn_id = await conn_id_of(binary, evil)
        await stop_phone(relay, binary, evil, conn_id, version)
        binary.send_json({"conn_id": conn_id, "close_code": 4401})
        await evil.hung_up()
        directed = {"side": "phone", "cause": "directed", "code": "4xxx"}
        assert relay.value("connections_closed_total", **directed) == 1
        await serves(binary, relay)  # and no notice, since it asked for this


@pytest.mark.parametrize(("version", "side"), BOTH)
async def test_the_heartbeat_goes_on_for_everybody(version: str, side: str) -> None:
    """Who answers its pings stays; the stopped peer ends as one that does not."""
    intervals = {"ping": 0.2, "pong": 0.3}
    async with hurt_relay(intervals, tls=local_certificate()) as relay:
        if side == "phone":
            honest, evil = await relay.binary(), await join(relay, "phone", version, "s1")
            await inside_a_message(evil, version)
            notice = await behind_pings(honest)
            assert json.loads(notice.payload)["close_code"] == 1001
        else:
            evil, honest = await join(relay, "binary", version, "s1"), await relay.phone()
            await inside_a_message(evil, version)
            end = await behind_pings(honest)
            assert (end.opcode, end.payload) == (CLOSE, close_payload(1000))
        await evil.hung_up()
        timeouts = {"side": side, "cause": "heartbeat_timeout", "code": "1xxx"}
        assert relay.value("connections_closed_total", **timeouts) == 1


async def behind_pings(peer: Peer) -> Frame:
    """The first frame that is no ping; pings are answered."""
    while (frame := await peer.frame()).opcode == PING:
        peer.send(client_frame(frame.payload, PONG))
    return frame
