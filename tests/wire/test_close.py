"""The close handshake, control frames and violations over real sockets (RFC 6455 §5, §7)."""

import asyncio

import pytest

from tests.support.harness import running_relay
from tests.support.peer import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    client_frame,
    close_payload,
    request,
    upgrade_headers,
)

PATIENT = {"close": 1000.0}
"""Nothing ends because the time for it is over."""

VIOLATIONS = {
    "unmasked": (client_frame(b"1", masked=False), 1002, "frame not masked"),
    "rsv1": (client_frame(b"1", rsv=0x40), 1002, "reserved bit set"),
    "rsv2": (client_frame(b"1", rsv=0x20), 1002, "reserved bit set"),
    "rsv3": (client_frame(b"1", rsv=0x10), 1002, "reserved bit set"),
    "opcode 3": (client_frame(b"1", 0x3), 1002, "reserved opcode"),
    "opcode 11": (client_frame(b"1", 0xB), 1002, "reserved opcode"),
    "fragmented ping": (client_frame(b"", PING, fin=False), 1002, "fragmented control frame"),
    "long ping": (client_frame(b"x" * 126, PING), 1002, "control frame too long"),
    "continuation": (client_frame(b"1", 0x0), 1002, "nothing to continue"),
    "interrupted": (
        client_frame(b"1", fin=False) + client_frame(b"1"),
        1002,
        "message inside a message",
    ),
    "long form": (b"\x81\xfe\x00\x01abcd\x00", 1002, "bad length"),
    "negative": (b"\x81\xff\x80" + bytes(7), 1002, "bad length"),
    "close body": (client_frame(b"1", CLOSE), 1002, "bad close frame"),
    "close code": (client_frame(close_payload(1005), CLOSE), 1002, "bad close code"),
    "close reason": (
        client_frame(close_payload(1000) + b"\xff", CLOSE),
        1007,
        "text message is not valid UTF-8",
    ),
    "utf-8": (client_frame(b"\xff"), 1007, "text message is not valid UTF-8"),
    "too big": (b"\x81\xff" + (262145).to_bytes(8), 1009, "message too big"),
}


@pytest.mark.parametrize("side", ["binary", "phone"])
@pytest.mark.parametrize("violation", VIOLATIONS)
async def test_a_violation_closes_with_its_code_on_both_sides(violation: str, side: str) -> None:
    frames, code, reason = VIOLATIONS[violation]
    async with running_relay(intervals=PATIENT) as relay:
        binary = await relay.binary()
        peer = await relay.phone() if side == "phone" else binary
        peer.send(frames + client_frame(b"2"))
        assert await peer.closed() == (code, reason)
        assert await peer.at_eof()
        await peer.close()
        await relay.until(lambda: relay.live == (1 if side == "phone" else 0))


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999])
async def test_a_peers_close_is_answered_with_its_code(code: int) -> None:
    async with running_relay(intervals=PATIENT) as relay:
        binary = await relay.binary()
        await binary.say_goodbye(code)
        assert f"closed by peer with {code}" in relay.log_of("binary_forwarder_read_end")[0]


async def test_ping_is_answered_with_its_payload() -> None:
    async with running_relay() as relay:
        binary = await relay.binary()
        for payload in (b"", b"x", b"\x00\xff" * 62):
            binary.send(client_frame(payload, PING))
            pong = await binary.frame()
            assert (pong.opcode, pong.payload) == (PONG, payload)


async def test_an_unasked_pong_is_ignored() -> None:
    async with running_relay() as relay:
        binary = await relay.binary()
        binary.send(client_frame(b"", PONG) + client_frame(b"now", PING))
        assert (await binary.frame()).payload == b"now"


async def test_who_does_not_answer_our_close_is_dropped_after_the_limit() -> None:
    async with running_relay(intervals={"close": 0.05}) as relay:
        phone = await relay.phone()
        assert await phone.closed(answer=False) == (4404, "no server with that id")
        assert await phone.at_eof()
        await relay.until(lambda: relay.live == 0)


async def test_the_relay_waits_for_the_answer_to_its_close() -> None:
    async with running_relay() as relay:
        phone = await relay.phone()
        assert await phone.closed(answer=False) == (4404, "no server with that id")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await phone.reader.read()
        phone.send(client_frame(b"ignored") + client_frame(close_payload(4404), CLOSE))
        assert await phone.at_eof()
        dropped = relay.value("frames_dropped_total", direction="phone_to_binary", reason="closing")
        assert dropped == 1


async def test_nothing_after_a_peers_close_is_read() -> None:
    async with running_relay() as relay:
        binary, phone = await relay.binary(), await relay.phone()
        phone.send(client_frame(close_payload(1000), CLOSE) + client_frame(b"1"))
        assert (await binary.json())["close_code"] == 1000
        assert relay.value("frames_forwarded_total", direction="phone_to_binary") == 0


@pytest.mark.parametrize("size", [10, 300_000])
async def test_frames_behind_the_head_are_the_first_frames(size: int) -> None:
    async with running_relay(limits={"message_bytes": 400_000}) as relay:
        binary = await relay.binary()
        client = await relay.http()
        headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"}
        message = b'"' + b"x" * size + b'"'
        frames = client_frame(b"1") + client_frame(message)
        client.send(request("/v1/client", upgrade_headers(headers)) + frames)
        assert (await client.response())[0] == 101
        assert (await binary.json())["frame"] == 1
        assert (await binary.json())["frame"] == "x" * size


async def test_one_byte_at_a_time() -> None:
    async with running_relay() as relay:
        binary, phone = await relay.binary(), await relay.phone()
        for byte in client_frame(b'"' + b"y" * 300 + b'"') + client_frame(b"2"):
            phone.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await binary.json())["frame"] == "y" * 300
        frame = await binary.frame()
        assert frame.opcode == TEXT
        assert frame.payload.endswith(b'"frame":2}')
