"""Frames, close directives and close notices over real sockets (protocol, registry and frames)."""

import json

from tests.support.harness import running_relay


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
        assert relay.value("frames_forwarded_total", direction="phone_to_binary") == 1
        assert relay.value("frames_forwarded_total", direction="binary_to_phone") == 1
