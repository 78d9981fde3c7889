"""Frames, close directives and close notices over real sockets (protocol, frames)."""

import json

import pytest

from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import BINARY, PONG, TEXT, Peer, client_frame, close_payload

KIB_256 = 256 * 1024
FRAMES = "frames_forwarded_total"
DROPPED = "frames_dropped_total"
UP, DOWN = {"direction": "phone_to_binary"}, {"direction": "binary_to_phone"}


async def joined(relay: RunningRelay, server_id: str = "s1") -> tuple[Peer, Peer, str]:
    """A binary, a phone of it, and the phone's conn_id."""
    binary, phone = await relay.binary(server_id), await relay.phone(server_id)
    phone.send_text("0")
    return binary, phone, (await binary.json())["conn_id"]


async def still_joined(binary: Peer, phone: Peer, conn_id: str) -> None:
    """A frame goes each way, and nothing came before it."""
    phone.send_text('"up"')
    assert await binary.json() == {"conn_id": conn_id, "frame": "up"}
    binary.send_json({"conn_id": conn_id, "frame": "down"})
    assert await phone.text() == b'"down"'


async def test_frames_flow_both_ways_byte_for_byte() -> None:
    async with running_relay() as relay:
        binary, phone = await relay.binary(), await relay.phone()
        message = b'{"n": 1,  "t":"\xc3\xa9 \\u0041"}'
        phone.send_text(message)
        wrapped = await binary.text()
        conn_id = json.loads(wrapped)["conn_id"].encode()
        assert wrapped == b'{"conn_id":"%b","frame":%b}' % (conn_id, message)
        binary.send_text(b'{"conn_id":"%b","frame": %b }' % (conn_id, message))
        assert await phone.text() == message
        assert relay.value(FRAMES, **UP) == 1
        assert relay.value(FRAMES, **DOWN) == 1


async def test_connection_ids_name_side_and_server_id() -> None:
    async with running_relay() as relay:
        _, _, conn_id = await joined(relay, 'a "b" \\c')
        assert conn_id.startswith('client-a "b" \\c-')
        assert len(conn_id.rpartition("-")[2]) == 8
        int(conn_id.rpartition("-")[2], 16)
        assert 'binary_conn_id="server-a \\"b\\" \\\\c-' in relay.log_of("server_claimed")[0]


@pytest.mark.parametrize("size", [1, 125, 126, 65535, 65536, KIB_256])
async def test_every_length_passes_phone_to_binary(size: int) -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        message = b"7" if size == 1 else b'"' + b"x" * (size - 2) + b'"'
        phone.send_text(message)
        assert await binary.text() == b'{"conn_id":"%b","frame":%b}' % (conn_id.encode(), message)
        await still_joined(binary, phone, conn_id)


async def test_one_byte_more_than_the_limit_reaches_nobody() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        phone.send_text(b'"' + b"x" * (KIB_256 - 1) + b'"')
        assert await phone.closed() == (1009, "message too big")
        assert await phone.at_eof()
        await phone.close()
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        assert relay.value(FRAMES, **UP) == 1


async def test_the_limit_counts_the_assembled_message() -> None:
    async with running_relay(limits={"message_bytes": 125}) as relay:
        binary, phone, conn_id = await joined(relay)
        start, end = client_frame(b'"' + b"x" * 99, fin=False), b"y" * 24
        phone.send(start + client_frame(end + b'"', 0))
        assert (await binary.json())["frame"] == "x" * 99 + "y" * 24
        phone.send(start + client_frame(end + b'y"', 0))
        assert await phone.closed() == (1009, "message too big")
        assert await phone.at_eof()
        await phone.close()
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}


async def test_binary_and_fragmented_messages_leave_as_whole_text_frames() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        phone.send(client_frame(b"[1,2]", BINARY))
        assert (await binary.json())["frame"] == [1, 2]
        phone.send(client_frame(b"[1", fin=False) + client_frame(b",2", 0, fin=False))
        phone.send(client_frame(b"hi", 0x9) + client_frame(b"]", 0))
        frames = [await phone.frame(), await binary.frame()]
        assert [(f.opcode, f.fin) for f in frames] == [(PONG, True), (TEXT, True)]
        assert json.loads(frames[1].payload)["frame"] == [1, 2]
        envelope = json.dumps({"conn_id": conn_id, "frame": "x"}).encode()
        binary.send(client_frame(envelope[:9], BINARY, fin=False) + client_frame(envelope[9:], 0))
        assert await phone.text() == b'"x"'


@pytest.mark.parametrize(
    "message",
    [
        b'{}},"conn_id":"client-s1-00000000","frame":{',
        b'1}\n{"conn_id":"x","frame":1',
        b"{} {}",
        b"1 2",
        b"[1] trailing",
        b"",
        b"  ",
        b"nonsense",
        b'{"a":1,}',
        b"NaN",
        b'"\\ud800"',
        b'"a\x00b"',
        b"{}\x00",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=lambda message: repr(message[:20]),
)
async def test_what_is_not_one_json_value_reaches_nobody(message: bytes) -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        phone.send_text(message)
        assert await phone.closed() == (1007, "message is not valid JSON")
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        assert relay.value(DROPPED, **UP, reason="invalid") == 1
        assert relay.value(FRAMES, **UP) == 1


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("message", [b'"\xff"', b'"\xed\xa0\x80"', b'{"\xc0\xaf":1}'])
async def test_invalid_utf8_reaches_nobody(message: bytes, opcode: int) -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        phone.send(client_frame(message, opcode))
        code, _ = await phone.closed()
        assert code == 1007
        await phone.close()
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}


async def test_deep_nesting_is_json_and_passes() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        message = b"[" * 100 + b"]" * 100
        phone.send_text(message)
        assert await binary.text() == b'{"conn_id":"%b","frame":%b}' % (conn_id.encode(), message)


async def test_good_messages_before_a_bad_one_in_one_read_still_go() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        phone.send(
            client_frame(b"1") + client_frame(b"2") + client_frame(b"}") + client_frame(b"3")
        )
        assert [(await binary.json())["frame"] for _ in range(2)] == [1, 2]
        assert await phone.closed() == (1007, "message is not valid JSON")
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        assert relay.value(DROPPED, **UP, reason="invalid") == 1
        assert relay.value(DROPPED, **UP, reason="closing") == 1


@pytest.mark.parametrize(
    "envelope",
    [
        b"nonsense",
        b"[]",
        b"null",
        b'{"conn_id":7,"frame":1}',
        b'{"conn_id":"%b"}',
        b'{"conn_id":"%b","frame":null}',
        b'{"conn_id":"%b","close_code":0}',
        b'{"conn_id":"%b","close_code":"4401"}',
        b'{"conn_id":"%b","close_code":18446744073709551616}',
        b'{"frame":1}',
        b'{"conn_id":"","frame":1}',
        b'{"conn_id":null,"frame":1}',
        b'{"conn_id":"%b","frame":[}',
    ],
)
async def test_a_malformed_envelope_is_logged_counted_and_dropped(envelope: bytes) -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        binary.send_text(envelope % conn_id.encode() if b"%b" in envelope else envelope)
        await still_joined(binary, phone, conn_id)
        assert len(relay.log_of("binary_forwarder_unmarshal_err")) == 1
        assert relay.value(DROPPED, **DOWN, reason="invalid") == 1


async def test_an_envelope_of_bad_utf8_in_a_binary_frame_is_malformed() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        binary.send(client_frame(b'{"conn_id":"%b","frame":"\xff"}' % conn_id.encode(), BINARY))
        await still_joined(binary, phone, conn_id)
        assert relay.value(DROPPED, **DOWN, reason="invalid") == 1


async def test_an_unknown_conn_id_is_logged_counted_and_dropped() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        _, other_phone, other_id = await joined(relay, "s2")
        binary.send_json({"conn_id": "client-s1-nobody", "frame": 1})
        binary.send_json({"conn_id": other_id, "frame": "stolen"})
        binary.send_json({"conn_id": other_id, "close_code": 4401})
        await still_joined(binary, phone, conn_id)
        assert len(relay.log_of("binary_forwarder_unknown_conn_id")) == 3
        assert relay.value(DROPPED, **DOWN, reason="no_peer") == 2  # one had no frame
        other_phone.send_text("1")  # it is still there, and got nothing


async def test_unknown_fields_are_tolerated() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        binary.send_json({"x": {"y": []}, "conn_id": conn_id, "frame": 5, "close_code": None})
        assert await phone.text() == b"5"


async def test_a_push_wake_is_dropped_while_push_is_off() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        binary.send_json({"push_wake": {"platform": "fcm", "token": "device-secret"}})
        await still_joined(binary, phone, conn_id)
        assert len(relay.log_of("binary_forwarder_push_wake_dropped")) == 1
        assert "device-secret" not in "".join(relay.lines)


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4401, 4421, 4426, 4999])
async def test_a_close_directive_closes_with_its_code_after_its_frame(code: int) -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        stays = await relay.phone()
        binary.send_json({"conn_id": conn_id, "frame": "first"})
        binary.send_json({"conn_id": conn_id, "frame": "last", "close_code": code})
        binary.send_json({"conn_id": conn_id, "frame": "too late"})
        assert [await phone.text(), await phone.text()] == [b'"first"', b'"last"']
        assert await phone.closed() == (code, "")
        assert await phone.at_eof()
        stays.send_text('"no notice before this"')
        assert (await binary.json())["frame"] == "no notice before this"
        assert relay.value(DROPPED, **DOWN, reason="no_peer") == 1
        assert f"close_code={code}" in relay.log_of("binary_forwarder_phone_closed")[0]


async def test_a_close_directive_without_a_frame() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        binary.send_json({"conn_id": conn_id, "close_code": 4421})
        assert await phone.closed() == (4421, "")


async def test_a_directive_repeated_without_end_is_one_line() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        last = {"conn_id": conn_id, "frame": "too late", "close_code": 4421}
        directives = [{"conn_id": conn_id, "close_code": 4401}, *[last] * 50]
        binary.send(b"".join(client_frame(json.dumps(item).encode()) for item in directives))
        assert await phone.closed(answer=False) == (4401, "")
        await relay.until(lambda: relay.value(DROPPED, **DOWN, reason="no_peer") == 50)
        (line,) = relay.log_of("binary_forwarder_phone_closed")
        assert line.endswith(" close_code=4401\n")


async def test_directives_and_frames_of_one_read_keep_their_order() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        other = await relay.phone()
        other.send_text("0")
        other_id = (await binary.json())["conn_id"]
        burst = [
            {"conn_id": conn_id, "frame": 1},
            {"conn_id": other_id, "frame": 2},
            {"conn_id": conn_id, "frame": 3},
            {"conn_id": conn_id, "close_code": 4401},
            {"conn_id": other_id, "frame": 4},
        ]
        binary.send(b"".join(client_frame(json.dumps(item).encode()) for item in burst))
        assert [await phone.text(), await phone.text()] == [b"1", b"3"]
        assert await phone.closed() == (4401, "")
        assert [await other.text(), await other.text()] == [b"2", b"4"]


async def test_a_notice_carries_the_code_the_phone_sent() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        phone.send_text('"last"')
        await phone.say_goodbye(4001)
        assert await binary.json() == {"conn_id": conn_id, "frame": "last"}
        assert await binary.text() == b'{"conn_id":"%b","close_code":4001}' % conn_id.encode()
        assert relay.value("connected_phones") == 0


async def test_a_notice_is_1001_without_a_close_frame_and_1005_without_a_code() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        await phone.close()
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        empty = await relay.phone()
        empty.send(client_frame(b"", 0x8))
        assert await empty.closed(answer=False) == (None, "")
        assert (await binary.json())["close_code"] == 1005


async def test_a_notice_comes_once() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        phone.send(client_frame(close_payload(4002), 0x8) * 2)
        await phone.close()
        assert await binary.json() == {"conn_id": conn_id, "close_code": 4002}
        late = await relay.phone()
        late.send_text("1")
        assert (await binary.json())["frame"] == 1


async def test_a_burst_of_small_frames_arrives_whole_and_in_order() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        phone.send(b"".join(client_frame(b"%d" % n) for n in range(2000)))
        assert [(await binary.json())["frame"] for _ in range(2000)] == list(range(2000))
        envelope = '{"conn_id":"%s","frame":%d}'
        binary.send(b"".join(client_frame((envelope % (conn_id, n)).encode()) for n in range(2000)))
        assert [json.loads(await phone.text()) for _ in range(2000)] == list(range(2000))
        assert relay.value(FRAMES, **UP) == 2001
        assert relay.value(FRAMES, **DOWN) == 2000
