"""Peers that stop in the middle of a TLS handshake message, and go on or do not.

After the header of such a message OpenSSL wants the rest of it before it encrypts anything. What
is sent to the peer is held meanwhile; no other connection may notice. What a whole relay has to do
with such a peer in its midst is in ``test_tls_stalled_peers.py``.
"""

import socket
import struct

import pytest

from fastrelay.config.settings import Limits
from tests.support.certificates import local_certificate
from tests.support.hurting import PAIRS, hurt_relay
from tests.support.peer import request, upgrade_headers
from tests.support.record_client import SIDES, VERSIONS, RecordPeer, dial, join
from tests.support.record_keys import HANDSHAKE
from tests.support.record_session import (
    CLIENT_HELLO,
    KEY_UPDATE,
    NO_RENEGOTIATION,
    WARNING,
    Session,
    message,
)
from tests.support.tls_scene import (
    MANY_PEERS_MARGIN,
    Case,
    Fate,
    after_probes,
    complete,
    conn_id_of,
    ends,
    inside_a_message,
    numbers,
    run_cases,
    stop_binary,
    stop_phone,
)

KINDS = (*range(25), 254)
CUTS = (1, 3, 4, 10)
BURSTS = (66, 126, 186, 200)
HEAD = 4
FRAME_CHARGE = 64
"""Bytes for which each frame that waits is charged beside its own."""

IN_TIME = {"tls_stall": 0.1, "close": 5.0}
REFUSED = {"1.2": [(WARNING, NO_RENEGOTIATION)], "1.3": []}
"""What the relay says to the message that OpenSSL has waited for."""

WAITED_FOR = {"1.2": CLIENT_HELLO, "1.3": KEY_UPDATE}
"""The message of whose kind OpenSSL takes the header; any other one is refused there."""


def half_message_cases(version: str, spread: bool) -> list[Case]:
    return [half_message_case(version, kind, cut, spread) for kind in KINDS for cut in CUTS]


def half_message_case(version: str, kind: int, cut: int, spread: bool) -> Case:
    # A KeyUpdate of more than a byte is refused at its first: its only half is the header.
    size = 1 if kind == KEY_UPDATE and cut <= HEAD else 128
    half = message(kind, bytes(size))[:cut]
    pieces = [half[at : at + 1] for at in range(cut)] if spread else [half]

    def records(tls: Session) -> list[bytes]:
        return [tls.record(HANDSHAKE, piece) for piece in pieces]

    if cut < HEAD:
        fate = Fate.GOES_ON  # OpenSSL keeps these until it has a header
    elif kind == WAITED_FOR[version] and not (kind == KEY_UPDATE and cut > HEAD):
        fate = Fate.STALLS
    else:
        fate = Fate.FAILS
    return Case(f"{cut} bytes of message {kind}", records, fate)


@pytest.mark.parametrize("spread", [False, True], ids=["one record", "byte by byte"])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("version", VERSIONS)
async def test_half_messages_of_every_kind(version: str, side: str, spread: bool) -> None:
    cases = half_message_cases(version, spread)
    async with hurt_relay(IN_TIME, margin=MANY_PEERS_MARGIN, tls=local_certificate()) as relay:
        await run_cases(relay, side, version, cases)


# -- the rest comes in time ------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_a_phone_was_sent_meanwhile_is_delivered_in_order(version: str) -> None:
    """In bursts as they were seen to be lost, while its siblings get every frame at once."""
    async with hurt_relay(tls=local_certificate()) as relay:
        binary = await relay.binary()
        siblings = [await relay.phone() for _ in range(3)]
        sibling_ids = [await conn_id_of(binary, phone) for phone in siblings]
        for burst in BURSTS:
            evil = await join(relay, "phone", version, "s1")
            conn_id = await conn_id_of(binary, evil)
            rest = await stop_phone(relay, binary, evil, conn_id, version)
            for number in range(burst):
                for each in (conn_id, *sibling_ids):
                    binary.send_json({"conn_id": each, "frame": number})
            for sibling in siblings:
                await numbers(sibling, burst)
            assert relay.buffered >= burst * FRAME_CHARGE
            complete(evil, version, rest)
            assert await after_probes(evil) == 0
            await numbers(evil, burst, first=1)
            await relay.until(lambda: relay.buffered == 0)
            assert evil.tls.alerts == REFUSED[version]


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_a_binary_was_sent_meanwhile_is_delivered_in_order(version: str) -> None:
    """More than it may have unsent: its phones are not read on until it takes what waits."""
    frame, count = "f" * 20_000, 300
    async with hurt_relay(tls=local_certificate()) as relay:
        evil, phone = await join(relay, "binary", version, "s1"), await relay.phone()
        conn_id = await conn_id_of(evil, phone)
        rest = await stop_binary(relay, evil, phone, version)
        for number in range(count):
            phone.send_json([number, frame])
        await relay.until(lambda: relay.is_full("s1"))
        assert relay.binary_of("s1").connection.unsent < 2 * Limits().binary_backlog_bytes
        complete(evil, version, rest)
        assert await after_probes(evil) == {"conn_id": conn_id, "frame": [0, frame]}
        for number in range(1, count):
            assert await evil.json() == {"conn_id": conn_id, "frame": [number, frame]}
        evil.send_json({"conn_id": conn_id, "frame": "answer"})
        assert await phone.json() == "answer"


async def test_a_key_update_in_two_halves_is_answered_before_what_was_held() -> None:
    async with hurt_relay(tls=local_certificate()) as relay:
        binary, evil = await relay.binary(), await join(relay, "phone", "1.3", "s1")
        conn_id = await conn_id_of(binary, evil)
        await stop_phone(relay, binary, evil, conn_id, "1.3")
        binary.send_json({"conn_id": conn_id, "frame": 1})
        complete(evil, "1.3", b"\x01")
        assert await after_probes(evil) == 1
        assert evil.tls.key_updates == 1
        evil.send_text("2")  # with its own next key
        assert (await binary.json())["frame"] == 2


@pytest.mark.parametrize("version", VERSIONS)
async def test_data_in_the_middle_of_a_message_ends_the_connection(version: str) -> None:
    async with hurt_relay(tls=local_certificate()) as relay:
        binary, evil = await relay.binary(), await join(relay, "phone", version, "s1")
        conn_id = await conn_id_of(binary, evil)
        await stop_phone(relay, binary, evil, conn_id, version)
        evil.send_text('"too early"')
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        await evil.hung_up()
        await relay.until(lambda: ends(relay, "phone")[Fate.FAILS] == 1)
        assert relay.buffered == 0


# -- the rest never comes --------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_sixteen_phones_that_stop_do_not_keep_their_places(version: str) -> None:
    async with hurt_relay({"tls_stall": 0.3}, tls=local_certificate()) as relay:
        binary = await relay.binary()
        evils = [await join(relay, "phone", version, "s1") for _ in range(Limits().phones)]
        ids = [await conn_id_of(binary, phone) for phone in evils]
        refused = await relay.phone()
        assert await refused.closed() == (4429, "too many phones for server-id")
        for evil in evils:
            await inside_a_message(evil, version)
        for conn_id in ids:
            binary.send_json({"conn_id": conn_id, "frame": 1})
        notices = [await binary.json() for _ in evils]
        assert sorted(notice["conn_id"] for notice in notices) == sorted(ids)
        assert {notice["close_code"] for notice in notices} == {1001}
        for evil in evils:
            await evil.hung_up()
        honest = [await relay.phone() for _ in evils]
        for phone in honest:
            assert await conn_id_of(binary, phone)
        assert ends(relay, "phone")[Fate.STALLS] == len(evils)
        assert relay.buffered == 0


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_a_stopped_phone_is_sent_counts_in_its_budget(version: str) -> None:
    limits = {"phone_backlog_bytes": 500_000}
    async with hurt_relay(limits=limits, tls=local_certificate()) as relay:
        binary, sibling = await relay.binary(), await relay.phone()
        evil = await join(relay, "phone", version, "s1")
        evil_id, sibling_id = [await conn_id_of(binary, phone) for phone in (evil, sibling)]
        await stop_phone(relay, binary, evil, evil_id, version)
        for number in range(60):
            binary.send_json({"conn_id": evil_id, "frame": "x" * 10_000})
            binary.send_json({"conn_id": sibling_id, "frame": number})
            assert relay.buffered <= limits["phone_backlog_bytes"]
        assert await binary.json() == {"conn_id": evil_id, "close_code": 1001}
        await numbers(sibling, 60)
        reason = {"direction": "binary_to_phone", "reason": "backlog_full"}
        assert relay.value("frames_dropped_total", **reason) > 0
        await relay.until(lambda: relay.live == 2 + 2 * PAIRS)  # the time for its answer is over
        assert relay.buffered == 0


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_stopped_phone_hangs_up(version: str, reset: bool) -> None:
    async with hurt_relay(tls=local_certificate()) as relay:
        binary, evil = await relay.binary(), await join(relay, "phone", version, "s1")
        conn_id = await conn_id_of(binary, evil)
        await stop_phone(relay, binary, evil, conn_id, version)
        if reset:
            sock = evil.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await evil.close()
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        assert ends(relay, "phone")[Fate.CLOSES] == 1
        assert relay.buffered == 0


# -- before there is a WebSocket -------------------------------------------------------------------


def head_and_half(peer: RecordPeer, path: str, headers: dict[str, str], version: str) -> bytes:
    """Send a request and the beginning of a message in one write; returns the message's rest."""
    whole = message(KEY_UPDATE, b"\0") if version == "1.3" else peer.tls.client_hello()
    asked = peer.tls.application(request(path, upgrade_headers(headers)))
    peer.send_raw(asked + peer.tls.record(HANDSHAKE, whole[:HEAD]))
    return whole[HEAD:]


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_upgrade_whose_answer_is_held(version: str) -> None:
    async with hurt_relay(tls=local_certificate()) as relay:
        binary, phone = await relay.binary(), relay.own(await dial(relay.port, version))
        relay.attempts += 1
        headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"}
        rest = head_and_half(phone, "/v1/client", headers, version)
        await relay.until(lambda: relay.live == 2 + 2 * PAIRS)
        complete(phone, version, rest)
        assert (await phone.response())[0] == 101
        conn_id = await conn_id_of(binary, phone)
        binary.send_json({"conn_id": conn_id, "frame": 1})
        assert await phone.json() == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_visitor_whose_answer_is_held_is_dropped_in_time(version: str) -> None:
    async with hurt_relay({"tls_stall": 0.2}, tls=local_certificate()) as relay:
        visitor = relay.own(await dial(relay.port, version))
        head_and_half(visitor, "/healthz", {}, version)
        await visitor.hung_up()
        await relay.until(lambda: relay.pending == 0)
        assert not visitor.tls.plain
