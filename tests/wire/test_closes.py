"""Every connection that ends is counted once, by side, cause and class of code."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fastrelay.protocol.cause import Aborted, Cause
from tests.support.certificates import local_certificate
from tests.support.harness import RunningRelay, running_relay
from tests.support.hurting import every_close_is_counted
from tests.support.peer import CLOSE, PING, PONG, Peer, client_frame
from tests.support.record_client import RecordPeer, join
from tests.support.tls_scene import inside_a_message

QUICK = {"grace": 0.05, "close": 0.2, "drain": 0.5, "takeover_probe": 0.05}
LIMITS = {"phones": 2, "message_bytes": 5000, "phone_backlog_bytes": 100_000}
FAMILY = "pyrycode_relay_connections_closed_total"


def cells(relay: RunningRelay) -> dict[str, int]:
    """All cells, as a scrape shows them, by side, cause and code."""
    found = {}
    for (name, labels), count in relay.samples().items():
        if name == FAMILY:
            values = dict(labels)
            found[f"{values['side']} {values['cause']} {values['code']}"] = int(count)
    return found


async def pair(relay: RunningRelay) -> tuple[Peer, Peer, str]:
    """A binary, a phone of it, and the phone's conn_id."""
    binary, phone = await relay.binary(), await relay.phone()
    phone.send_text("0")
    return binary, phone, (await binary.json())["conn_id"]


async def peers_say_goodbye(relay: RunningRelay) -> None:
    for code in (1000, 3001, 4001):
        binary = await relay.binary()
        phone = await relay.phone()
        await phone.say_goodbye(code)
        await binary.json()  # the notice
        await binary.say_goodbye(code)


async def peers_say_nothing_but_goodbye(relay: RunningRelay) -> None:
    binary, phone, _ = await pair(relay)
    for peer in (phone, binary):
        peer.send(client_frame(b"", CLOSE))


async def peers_vanish(relay: RunningRelay) -> None:
    binary, phone, _ = await pair(relay)
    await phone.close()
    await binary.json()
    await binary.close()


async def shutdown(relay: RunningRelay) -> None:
    binary, phone, _ = await pair(relay)
    await relay.drain()
    assert await binary.closed() == await phone.closed() == (1001, "shutting down")


async def protocol_errors(relay: RunningRelay) -> None:
    await _each_sends(relay, b"\x83\x80\0\0\0\0", 1002)


async def invalid_payloads(relay: RunningRelay) -> None:
    await _each_sends(relay, client_frame(b"\xff"), 1007)


async def messages_too_big(relay: RunningRelay) -> None:
    await _each_sends(relay, client_frame(b"1" * 6000), 1009)


async def _each_sends(relay: RunningRelay, data: bytes, code: int) -> None:
    binary, phone, _ = await pair(relay)
    phone.send(data)
    assert (await phone.closed())[0] == code
    assert "close_code" in await binary.json()
    binary.send(data)
    assert (await binary.closed())[0] == code


async def message_timeouts(relay: RunningRelay) -> None:
    binary, phone, _ = await pair(relay)
    for peer in (phone, binary):
        peer.send(client_frame(b"{", fin=False))
    assert await phone.closed() == (1011, "message timeout")
    while (frame := await binary.frame()).opcode != CLOSE:
        pass
    assert frame.payload[2:] == b"message timeout"


async def heartbeat_timeouts(relay: RunningRelay) -> None:
    binary, phone = await relay.binary(), await relay.phone()
    for peer in (phone, binary):
        assert (await peer.frame()).opcode == 9
    assert await phone.closed() == (1011, "heartbeat timeout")


async def a_takeover(relay: RunningRelay) -> None:
    incumbent, phone = await relay.binary(), await relay.phone()
    await relay.binary()  # and nobody answers the ping
    assert (await incumbent.frame()).opcode == 9
    assert await incumbent.closed() == (1011, "heartbeat timeout")
    assert await phone.closed() == (4404, "binary reclaimed server-id")


async def a_conflict(relay: RunningRelay) -> None:
    binary, newcomer = await relay.binary(), await relay.binary()
    ping = await binary.frame()
    assert ping.opcode == 9
    binary.send(client_frame(ping.payload, PONG))
    assert (await newcomer.closed())[0] == 4409


async def a_contest(relay: RunningRelay) -> None:
    _, loser, _ = [await relay.binary() for _ in range(3)]
    assert (await loser.closed())[0] == 1013


async def refused_phones(relay: RunningRelay) -> None:
    assert (await (await relay.phone("nobody")).closed())[0] == 4404
    await relay.binary()
    _, _, one_too_many = [await relay.phone() for _ in range(3)]
    assert (await one_too_many.closed())[0] == 4429


async def grace_expires(relay: RunningRelay) -> None:
    binary, phone = await relay.binary(), await relay.phone()
    await binary.say_goodbye()
    assert await phone.closed() == (1000, "")


async def a_frame_for_nobody(relay: RunningRelay) -> None:
    binary, phone, _ = await pair(relay)
    await binary.close()
    await relay.until(lambda: relay.log_of("server_released"))
    phone.send_text("1")
    assert await phone.closed() == (1000, "")


async def directives(relay: RunningRelay) -> None:
    binary = await relay.binary()
    for code in (1000, 3001, 4401):
        phone = await relay.phone()
        phone.send_text("0")
        binary.send_json({"conn_id": (await binary.json())["conn_id"], "close_code": code})
        assert await phone.closed() == (code, "")


async def codes_that_may_not_travel(relay: RunningRelay) -> None:
    binary = await relay.binary()
    for code in (1005, 1006):
        phone = await relay.phone()
        phone.send_text("0")
        binary.send_json({"conn_id": (await binary.json())["conn_id"], "close_code": code})
        if code == 1005:
            assert await phone.closed() == (None, "")
        assert await phone.at_eof()


async def a_backlog_too_large(relay: RunningRelay) -> None:
    await _flood_a_phone_that_stopped(relay)


async def a_phone_that_takes_nothing(relay: RunningRelay) -> None:
    await _flood_a_phone_that_stopped(relay)


async def _flood_a_phone_that_stopped(relay: RunningRelay) -> None:
    binary, phone = await relay.binary(), await relay.phone(window=4096)
    phone.send_text("0")
    conn_id = (await binary.json())["conn_id"]
    phone.stop_reading()
    for _ in range(2000):
        binary.send_json({"conn_id": conn_id, "frame": "x" * 4000})
        await binary.writer.drain()
    assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}


async def a_binary_that_takes_nothing(relay: RunningRelay) -> None:
    binary, phone = await relay.binary(window=4096), await relay.phone()
    binary.stop_reading()
    for _ in range(2000):
        phone.send_text('"' + "x" * 4000 + '"')
    assert await phone.closed() == (1000, "")


async def _tls_pair(relay: RunningRelay) -> tuple[RecordPeer, RecordPeer]:
    """A phone and its binary whose records are made by hand."""
    binary = await join(relay, "binary", "1.3", "s1")
    return await join(relay, "phone", "1.3", "s1"), binary


async def halves_of_tls_messages(relay: RunningRelay) -> None:
    for peer in await _tls_pair(relay):
        await inside_a_message(peer, "1.3")
        await peer.hung_up()


async def records_that_are_not_encrypted(relay: RunningRelay) -> None:
    for peer in await _tls_pair(relay):
        peer.send_raw(b"\x17\x03\x03\x00\x20" + bytes(32))
        await peer.hung_up()


class _NoWriting:
    """A connection's transport, but for a write, which raises."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        raise RuntimeError("no writing")


async def exceptions_in_the_relay(relay: RunningRelay) -> None:
    asyncio.get_running_loop().set_exception_handler(relay.relay.errors.from_loop)
    binary = await relay.binary()
    await _raises(binary, relay.binary_of("s1").connection)
    await relay.binary()
    phone = await relay.phone()
    (of_phone,) = relay.phones_of("s1")
    await _raises(phone, of_phone.connection)
    assert relay.value("internal_errors_total") == len(relay.log_of("internal_error")) == 2


async def _raises(peer: Peer, connection: Any) -> None:
    """Let the answer to a ping of ``peer`` raise."""
    connection._transport = _NoWriting(connection._transport)
    peer.send(client_frame(b"", PING))
    assert await peer.at_eof()


async def useless_frames(relay: RunningRelay) -> None:
    for peer in (await relay.binary(), await relay.phone()):
        peer.send(client_frame(b"", PONG) * 1001)
        assert await peer.closed() == (1008, "too many useless frames")


async def half_messages_of_all(relay: RunningRelay) -> None:
    """Past the budget, which is that of two peers, the larger one goes."""
    half = client_frame(b"x" * 4_900)
    _, phone, _ = await pair(relay)
    phone.send(half[:4_000])
    other = await relay.binary("other")
    other.send(half[:1_000])
    assert await phone.closed() == (1011, "memory limit")
    other.send(half[1_000:4_000])
    await relay.until(lambda: relay.held > 4_000)
    (await relay.phone()).send(half[:1_000])
    assert await other.closed() == (1011, "memory limit")


async def evictions_behind_a_splice(relay: RunningRelay) -> None:
    """The worker that has TLS drops the connection; this is how its owner is told."""
    binary, phone, _ = await pair(relay)
    (of_phone,) = relay.phones_of("s1")
    for peer, inside in ((phone, of_phone), (binary, relay.binary_of("s1"))):
        inside.connection.connection_lost(Aborted(Cause.MEMORY_LIMIT))
        inside.connection._transport.abort()
        assert await peer.reader.read() == b"" or peer is binary  # which got the notice


SIDES = ("phone", "binary")


def _both(why: str) -> set[str]:
    return {f"{side} closed by relay: {why}" for side in SIDES}


def words(relay: RunningRelay) -> set[str]:
    """Why connections ended, in the words of the log."""
    return {
        f"{side} {json.loads(line.partition(' err=')[2])}"
        for side in SIDES
        for line in relay.log_of(f"{side}_forwarder_read_end")
    }


Scene = Callable[[RunningRelay], Awaitable[None]]
SCENES: dict[Scene, tuple[str, ...]] = {
    peers_say_goodbye: (
        *("phone peer_closed 1xxx", "phone peer_closed 3xxx", "phone peer_closed 4xxx"),
        *("binary peer_closed 1xxx", "binary peer_closed 3xxx", "binary peer_closed 4xxx"),
    ),
    peers_say_nothing_but_goodbye: ("phone peer_closed none", "binary peer_closed none"),
    peers_vanish: ("phone peer_lost none", "binary peer_lost none"),
    shutdown: ("phone shutdown 1xxx", "binary shutdown 1xxx"),
    protocol_errors: ("phone protocol_error 1xxx", "binary protocol_error 1xxx"),
    invalid_payloads: ("phone invalid_payload 1xxx", "binary invalid_payload 1xxx"),
    messages_too_big: ("phone too_big 1xxx", "binary too_big 1xxx"),
    message_timeouts: ("phone message_timeout 1xxx", "binary message_timeout 1xxx"),
    heartbeat_timeouts: ("phone heartbeat_timeout 1xxx", "binary heartbeat_timeout 1xxx"),
    a_takeover: ("binary taken_over 1xxx", "phone reclaimed 4xxx"),
    a_conflict: ("binary server_in_use 4xxx",),
    a_contest: ("binary try_again 1xxx",),
    refused_phones: ("phone no_server 4xxx", "phone phones_at_cap 4xxx"),
    useless_frames: ("phone useless_frames 1xxx", "binary useless_frames 1xxx"),
    grace_expires: ("phone grace_expired 1xxx",),
    a_frame_for_nobody: ("phone no_binary 1xxx",),
    directives: ("phone directed 1xxx", "phone directed 3xxx", "phone directed 4xxx"),
    codes_that_may_not_travel: ("phone directed none",),
    evictions_behind_a_splice: ("phone memory_limit none", "binary memory_limit none"),
    half_messages_of_all: ("phone memory_limit 1xxx", "binary memory_limit 1xxx"),
    a_backlog_too_large: ("phone backlog_full 1xxx",),
    a_phone_that_takes_nothing: ("phone write_failed 1xxx",),
    a_binary_that_takes_nothing: ("binary write_failed none",),
    halves_of_tls_messages: ("phone tls_stalled none", "binary tls_stalled none"),
    records_that_are_not_encrypted: ("phone tls_failed none", "binary tls_failed none"),
    exceptions_in_the_relay: ("phone internal_error none", "binary internal_error none"),
}
WORDS: dict[Scene, set[str]] = {
    peers_say_goodbye: {f"{side} closed by peer with {n}" for side in SIDES for n in (1000, 4001)},
    peers_say_nothing_but_goodbye: {f"{side} closed by peer without a code" for side in SIDES},
    peers_vanish: {f"{side} closed by peer without a close frame" for side in SIDES},
    shutdown: _both("shutting down (1001)"),
    protocol_errors: _both("reserved opcode (1002)"),
    invalid_payloads: _both("text message is not valid UTF-8 (1007)"),
    messages_too_big: _both("message too big (1009)"),
    message_timeouts: _both("message timeout (1011)"),
    heartbeat_timeouts: _both("heartbeat timeout (1011)"),
    a_takeover: {
        "binary closed by relay: taken over by another binary (1011)",
        "phone closed by relay: binary reclaimed server-id (4404)",
    },
    useless_frames: _both("too many useless frames (1008)"),
    grace_expires: {"phone closed by relay: the grace period of its binary is over (1000)"},
    a_frame_for_nobody: {"phone closed by relay: its binary is gone (1000)"},
    directives: {"phone closed by relay: its binary asked for it (4401)"},
    codes_that_may_not_travel: {
        "phone closed by relay: its binary asked for it (1005)",
        "phone dropped by relay: its binary asked for it (1006)",
    },
    evictions_behind_a_splice: {f"{side} dropped by relay: memory limit" for side in SIDES},
    half_messages_of_all: _both("memory limit (1011)"),
    a_backlog_too_large: {"phone closed by relay: phone backlog full (1011)"},
    a_phone_that_takes_nothing: {"phone closed by relay: write stalled (1011)"},
    a_binary_that_takes_nothing: {"binary dropped by relay: write stalled"},
    halves_of_tls_messages: {f"{side} dropped by relay: TLS message timeout" for side in SIDES},
    records_that_are_not_encrypted: {f"{side} dropped by relay: TLS failed" for side in SIDES},
    exceptions_in_the_relay: {f"{side} dropped by relay: internal error" for side in SIDES},
}
"""What the log says of connections that held or had a server-id."""

OVER_TLS = {halves_of_tls_messages, records_that_are_not_encrypted}
INTERVALS: dict[Scene, dict[str, float]] = {
    message_timeouts: {"message": 0.05},
    heartbeat_timeouts: {"ping": 0.05, "pong": 0.05},
    a_conflict: {"takeover_probe": 5.0},
    a_frame_for_nobody: {"grace": 5.0},
    a_phone_that_takes_nothing: {"write": 0.3},
    a_binary_that_takes_nothing: {"write": 0.3},
    halves_of_tls_messages: {"tls_stall": 0.05},
}


@pytest.mark.parametrize("scene", SCENES)
async def test_a_close_advances_its_cell(scene: Scene) -> None:
    limits = LIMITS
    if scene is a_phone_that_takes_nothing:
        limits = LIMITS | {"phone_backlog_bytes": 2**30}
    if scene is half_messages_of_all:
        limits = LIMITS | {"held_bytes": 4_500}
    intervals = QUICK | INTERVALS.get(scene, {})
    secure = {"tls": local_certificate()} if scene in OVER_TLS else {}
    async with running_relay(intervals=intervals, limits=limits, **secure) as relay:
        await scene(relay)
        await relay.until(
            lambda: set(SCENES[scene]) <= {cell for cell, n in cells(relay).items() if n}
        )
        await relay.until(lambda: words(relay) >= WORDS.get(scene, set()))
        await relay.close_clients()
        await relay.until(lambda: relay.live == 0)
        every_close_is_counted(relay)


async def test_every_cell_is_there_at_zero_and_has_its_scene() -> None:
    async with running_relay() as relay:
        found = cells(relay)
    assert not any(found.values())
    assert set(found) == {cell for scene in SCENES.values() for cell in scene}
