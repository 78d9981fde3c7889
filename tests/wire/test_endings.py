"""How connections end: at once where the relay ends them, and with the true reason in the log."""

import json
import struct
from socket import SO_LINGER, SOL_SOCKET

import pytest

from tests.support.certificates import local_certificate
from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import CLOSE, PING, PONG, Peer, client_frame, close_payload

PATIENT = {"close": 1000.0, "grace": 1000.0}
"""Nothing ends because the time for it is over."""


async def joined(relay: RunningRelay) -> tuple[Peer, Peer, str]:
    """A binary, a phone of it, and the phone's conn_id."""
    binary, phone = await relay.binary(), await relay.phone()
    phone.send_text("0")
    return binary, phone, (await binary.json())["conn_id"]


# -- at once --------------------------------------------------------------------------------------

FAULTS = {
    "unmasked": (client_frame(b"1", masked=False), 1002),
    "no JSON": (client_frame(b"nonsense"), 1007),
    "no UTF-8": (client_frame(b"\xff"), 1007),
    "too big": (b"\x81\xff" + (262145).to_bytes(8), 1009),
    "useless": (client_frame(b"", PONG) * 1001, 1008),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_notice_and_the_place_of_a_phone_do_not_wait_for_its_answer(fault: str) -> None:
    frames, code = FAULTS[fault]
    async with running_relay(intervals=PATIENT, limits={"phones": 1}) as relay:
        binary, phone, conn_id = await joined(relay)
        phone.send(frames)
        assert (await phone.closed(answer=False))[0] == code
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        assert relay.value("connected_phones") == 0
        assert relay.live == 2  # the cap on connections still knows it
        other = await relay.phone()
        other.send_text('"in its place"')
        assert (await binary.json())["frame"] == "in its place"
        phone.send(client_frame(close_payload(4001), CLOSE))
        binary.send(client_frame(b"nothing between", PING))
        assert (await binary.frame()).payload == b"nothing between"  # no second notice


async def test_a_silent_phone_is_reported_at_once() -> None:
    async with running_relay(intervals=PATIENT | {"ping": 0.1, "pong": 1.0}) as relay:
        binary, phone, conn_id = await joined(relay)
        while (frame := await binary.frame()).opcode == PING:
            binary.send(client_frame(frame.payload, PONG))
        assert json.loads(frame.payload) == {"conn_id": conn_id, "close_code": 1001}
        assert relay.value("connected_phones") == 0
        assert (await phone.frame()).opcode == PING
        assert await phone.closed(answer=False) == (1011, "heartbeat timeout")


async def test_the_server_id_of_a_binary_does_not_wait_for_its_answer() -> None:
    async with running_relay(intervals=PATIENT) as relay:
        binary, phone, _ = await joined(relay)
        binary.send(client_frame(b"1", masked=False))
        assert (await binary.closed(answer=False))[0] == 1002
        assert relay.value("connected_binaries") == 0
        assert len(relay.log_of("server_released")) == 1
        successor = await relay.binary()
        assert await phone.closed() == (4404, "binary reclaimed server-id")
        other = await relay.phone()
        other.send_text("1")
        assert (await successor.json())["frame"] == 1
        assert relay.value("takeovers_total") == 0


async def test_a_phone_that_is_closed_as_its_binary_asked_has_no_place_any_more() -> None:
    async with running_relay(intervals=PATIENT, limits={"phones": 1}) as relay:
        binary, phone, conn_id = await joined(relay)
        binary.send_json({"conn_id": conn_id, "close_code": 4401})
        assert await phone.closed(answer=False) == (4401, "")
        assert relay.value("connected_phones") == 0
        other = await relay.phone()
        other.send_text("1")
        assert (await binary.json())["frame"] == 1  # and there was no notice


# -- codes that may not travel --------------------------------------------------------------------

UNSENDABLE = [-(2**63), -1, 1, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535, 69937, 2**64 - 1]


@pytest.mark.parametrize("code", UNSENDABLE)
async def test_a_code_that_may_not_travel_ends_tcp_behind_the_frame(code: int) -> None:
    async with running_relay(intervals=PATIENT) as relay:
        binary, phone, conn_id = await joined(relay)
        binary.send_json({"conn_id": conn_id, "frame": "last", "close_code": code})
        assert await phone.text() == b'"last"'
        assert await phone.at_eof()
        await phone.close()
        await relay.until(lambda: relay.live == 1)
        (line,) = relay.log_of("binary_forwarder_phone_closed")
        assert f" close_code={code}\n" in line
        (line,) = relay.log_of("phone_forwarder_read_end")
        assert f'err="dropped by relay: its binary asked for it ({code})"' in line
        binary.send(client_frame(b"no notice", PING))
        assert (await binary.frame()).payload == b"no notice"


async def test_1006_is_no_close_frame() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        binary.send_json({"conn_id": conn_id, "frame": "last", "close_code": 1006})
        assert await phone.text() == b'"last"'
        assert await phone.at_eof()
        other = await relay.phone()
        other.send_text("1")
        assert (await binary.json())["frame"] == 1  # and there was no notice


async def test_1005_is_an_empty_close_frame() -> None:
    async with running_relay(intervals=PATIENT) as relay:
        binary, phone, conn_id = await joined(relay)
        binary.send_json({"conn_id": conn_id, "frame": "last", "close_code": 1005})
        assert await phone.text() == b'"last"'
        assert await phone.closed() == (None, "")
        assert await phone.at_eof()
        assert " close_code=1005\n" in relay.log_of("binary_forwarder_phone_closed")[0]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("code", [1005, 1006])
async def test_everything_queued_goes_before_the_end(code: int, secure: bool) -> None:
    tls = {"tls": local_certificate()} if secure else {}
    async with running_relay(intervals=PATIENT, **tls) as relay:
        binary = await relay.binary()
        phone = await relay.phone(window=4096)
        phone.send_text("0")
        conn_id = (await binary.json())["conn_id"]
        phone.stop_reading()
        frames = ["x" * 100_000 + str(number) for number in range(30)]
        for frame in frames:
            binary.send_json({"conn_id": conn_id, "frame": frame})
        await relay.until(lambda: relay.buffered > 0)
        binary.send_json({"conn_id": conn_id, "close_code": code})
        await relay.until(lambda: relay.log_of("binary_forwarder_phone_closed"))
        phone.read_on()
        assert [json.loads(await phone.text()) for _ in frames] == frames
        if code == 1005:
            assert await phone.closed() == (None, "")
        assert await phone.at_eof()
        await phone.close()
        await relay.until(lambda: relay.live == 1)


# -- the reason -----------------------------------------------------------------------------------


async def test_the_log_says_who_ended_a_connection_and_why() -> None:
    """What a peer answers, or leaves out, does not change it."""
    ends = {
        client_frame(b"1", masked=False): "closed by relay: frame not masked (1002)",
        client_frame(b"nonsense"): "closed by relay: message is not valid JSON (1007)",
        client_frame(b"\xff"): "closed by relay: text message is not valid UTF-8 (1007)",
        b"\x81\xff" + (262145).to_bytes(8): "closed by relay: message too big (1009)",
        client_frame(close_payload(4001), CLOSE): "closed by peer with 4001",
        client_frame(b"", CLOSE): "closed by peer without a code",
    }
    async with running_relay() as relay:
        binary, phone, _ = await joined(relay)
        for frames in ends:
            phone.send(frames)
            await phone.closed()
            assert "close_code" in await binary.json()
            phone = await relay.phone()
        phone.send_text("1")
        conn_id = (await binary.json())["conn_id"]
        binary.send_json({"conn_id": conn_id, "close_code": 4421})
        assert await phone.closed() == (4421, "")
        await (await relay.phone()).close()
        assert (await binary.json())["close_code"] == 1001
        said = [
            json.loads(line.partition(" err=")[2])
            for line in relay.log_of("phone_forwarder_read_end")
        ]
        assert said == [
            *ends.values(),
            "closed by relay: its binary asked for it (4421)",
            "closed by peer without a close frame",
        ]


async def test_a_reset_is_named_as_the_system_names_it() -> None:
    async with running_relay() as relay:
        _, phone, _ = await joined(relay)
        sock = phone.writer.get_extra_info("socket")
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        await phone.close()
        await relay.until(lambda: relay.log_of("phone_forwarder_read_end"))
        (line,) = relay.log_of("phone_forwarder_read_end")
        assert 'err="Connection reset by peer"' in line
