"""Peers with TLS of their own making, among peers that must not notice.

A :class:`Case` is what an evil peer sends after its upgrade, and what must become of it. Many cases
share a relay: each has a connection of its own.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tests.support.harness import RunningRelay
from tests.support.peer import TEXT, TIMEOUT, FrameReader, Peer
from tests.support.record_client import RecordPeer, join
from tests.support.record_keys import HANDSHAKE
from tests.support.record_session import KEY_UPDATE, Session, message

EVIL_PHONES = 15
"""On one binary, beside one honest phone: all its places."""

MANY_PEERS_MARGIN = 32 * 1024 * 1024
"""As :data:`tests.support.hurting.MARGIN`, for a hundred peers at once and their clients, for whom
the first test of a process makes the allocators grow."""

PROBE = "held?"
"""A frame that is sent until the relay holds one."""

BURST = 40
"""Frames to each phone of a binary while its evil phones do what they do."""


class Fate(Enum):
    """What must become of a connection; the value is the cause under which its end is counted."""

    GOES_ON = ""
    FAILS = "tls_failed"
    STALLS = "tls_stalled"
    CLOSES = "peer_lost"


@dataclass(frozen=True)
class Case:
    """What an evil peer sends and what becomes of it.

    Attributes:
        name: for a failure's text.
        pieces: the bytes, each a write of its own.
        fate: see :class:`Fate`.
    """

    name: str
    pieces: Callable[[Session], Sequence[bytes]]
    fate: Fate


async def inside_a_message(peer: RecordPeer, version: str) -> bytes:
    """Send the beginning of a handshake message; returns its rest, to be sent in a record."""
    whole = message(KEY_UPDATE, b"\0") if version == "1.3" else peer.tls.client_hello()
    peer.send_record(HANDSHAKE, whole[:4])
    return whole[4:]


def complete(peer: RecordPeer, version: str, rest: bytes) -> None:
    """Send what :func:`inside_a_message` left out."""
    peer.send_record(HANDSHAKE, rest)
    if version == "1.3":
        peer.tls.rotate()


async def stop_phone(
    relay: RunningRelay, binary: Peer, evil: RecordPeer, conn_id: str, version: str
) -> bytes:
    """Let a phone stop inside a message until something is held for it; returns the rest of it."""
    rest, before = await inside_a_message(evil, version), relay.buffered
    async with asyncio.timeout(TIMEOUT):
        while relay.buffered <= before:
            binary.send_json({"conn_id": conn_id, "frame": PROBE})
            await asyncio.sleep(0.002)
    return rest


async def stop_binary(relay: RunningRelay, evil: RecordPeer, phone: Peer, version: str) -> bytes:
    """The same for a binary on ``s1``."""
    rest, incumbent = await inside_a_message(evil, version), relay.binary_of("s1")
    async with asyncio.timeout(TIMEOUT):
        while not incumbent.connection.unsent:
            phone.send_json(PROBE)
            await asyncio.sleep(0.002)
    return rest


async def after_probes(peer: Peer) -> Any:
    """The first text message behind the probes of :func:`stop_phone` or :func:`stop_binary`."""
    while True:
        value = await peer.json()
        if value != PROBE and not (isinstance(value, dict) and value.get("frame") == PROBE):
            return value


async def conn_id_of(binary: Peer, phone: Peer) -> str:
    """The connection id of a phone, from an envelope of its own."""
    phone.send_text('"who am I"')
    envelope = await binary.json()
    assert envelope["frame"] == "who am I", envelope
    return str(envelope["conn_id"])


async def numbers(phone: Peer, count: int, first: int = 0) -> None:
    """The frames 0, 1, 2 and so on, and nothing between them."""
    for number in range(first, count):
        assert await phone.json() == number


def ends(relay: RunningRelay, side: str) -> Counter[Fate]:
    """How many connections have ended without a close frame, and how."""
    name, fates = "connections_closed_total", list(Fate)[1:]
    return Counter(
        {fate: int(relay.value(name, side=side, cause=fate.value, code="none")) for fate in fates}
    )


async def run_cases(relay: RunningRelay, side: str, version: str, cases: Sequence[Case]) -> None:
    """Let each case happen, and check what becomes of everybody concerned."""
    before = ends(relay, side)
    if side == "phone":
        starts = range(0, len(cases), EVIL_PHONES)
        scenes = [
            _evil_phones(relay, version, f"{at}", cases[at : at + EVIL_PHONES]) for at in starts
        ]
    else:
        scenes = [_evil_binary(relay, version, f"{n}", case) for n, case in enumerate(cases)]
    await asyncio.gather(*scenes)
    expected = before + Counter(case.fate for case in cases if case.fate is not Fate.GOES_ON)
    # What is read last ends the connection; when its socket is gone, that is counted.
    await relay.until(lambda: ends(relay, side).total() >= expected.total())
    assert ends(relay, side) == expected, (ends(relay, side), expected)


async def _evil_phones(
    relay: RunningRelay, version: str, server_id: str, cases: Sequence[Case]
) -> None:
    """One binary with an honest phone, registered last, and an evil phone for each case."""
    binary = await relay.binary(server_id)
    evils = [await join(relay, "phone", version, server_id) for _ in cases]
    ids = [await conn_id_of(binary, phone) for phone in evils]
    honest = await relay.phone(server_id)
    honest_id = await conn_id_of(binary, honest)
    for evil, case in zip(evils, cases, strict=True):
        await evil.send_slowly(case.pieces(evil.tls))
    for number in range(BURST):
        for conn_id in (*ids, honest_id):
            binary.send_json({"conn_id": conn_id, "frame": number})
    await numbers(honest, BURST)
    gone = []
    for evil, conn_id, case in zip(evils, ids, cases, strict=True):
        if case.fate is Fate.GOES_ON:
            await numbers(evil, BURST)
        else:
            gone.append({"conn_id": conn_id, "close_code": 1001})
            await _ends(evil, case)
    notices = [await binary.json() for _ in gone]
    assert sorted(notices, key=str) == sorted(gone, key=str)
    honest.send_text('"the last"')
    assert (await binary.json())["frame"] == "the last"


async def _ends(evil: RecordPeer, case: Case) -> None:
    """The relay hangs up; until then the phone has got its frames from the first on, or none."""
    await evil.hung_up()
    reader, count = FrameReader(), 0
    reader.receive(bytes(evil.tls.plain))
    while (frame := reader.next()) is not None:
        assert (frame.opcode, json.loads(frame.payload)) == (TEXT, count), case.name
        count += 1


async def _evil_binary(relay: RunningRelay, version: str, server_id: str, case: Case) -> None:
    """An evil binary with an honest phone, which is served or is told that there is no binary."""
    evil = await join(relay, "binary", version, server_id)
    honest = await relay.phone(server_id)
    conn_id = await conn_id_of(evil, honest)
    await evil.send_slowly(case.pieces(evil.tls))
    if case.fate is Fate.GOES_ON:
        for number in range(3):
            honest.send_text(f"{number}")
            assert await evil.json() == {"conn_id": conn_id, "frame": number}, case.name
    else:
        await evil.hung_up()
        assert await honest.closed() == (1000, ""), case.name
