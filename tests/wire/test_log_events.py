"""What is logged when, with which keys (protocol, log events), over real sockets.

Each event is brought about and its lines compared key by key; those of push are in
``test_push.py``, and ``test_log.py`` has what a line looks like.
"""

import asyncio
import json
import re

import pytest

from fastrelay.log import WHOLE_LINES
from tests.support.attempts import CLIENT, ask
from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import CLOSE, PONG, Peer, client_frame, close_payload, upgrade_headers

FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


def logged(relay: RunningRelay, event: str) -> list[dict[str, str]]:
    """The fields of each line of an event, without time, level and name."""
    lines = []
    for line in relay.log_of(event):
        fields = {k: json.loads(v) if v[:1] == '"' else v for k, v in FIELD.findall(line)}
        assert fields.pop("msg") == event
        assert fields.pop("level")
        assert fields.pop("time")
        lines.append(fields)
    return lines


async def joined(relay: RunningRelay) -> tuple[Peer, Peer, dict[str, str], dict[str, str]]:
    """A binary and a phone, and the ids they are logged with."""
    binary = await relay.binary()
    phone = await relay.phone(**{"X-Pyrycode-Device-Name": "Ann's"})
    await relay.until(lambda: relay.log_of("phone_registered"))
    (claimed,), (registered,) = logged(relay, "server_claimed"), logged(relay, "phone_registered")
    return (
        *(binary, phone),
        {"server_id": "s1", "binary_conn_id": claimed["binary_conn_id"]},
        {"server_id": "s1", "conn_id": registered["conn_id"]},
    )


async def test_a_phone_comes_and_goes() -> None:
    async with running_relay() as relay:
        _, phone, its_binary, itself = await joined(relay)
        assert logged(relay, "server_claimed") == [
            its_binary | {"binary_version": "1.2.3", "remote": "127.0.0.1"}
        ]
        assert logged(relay, "phone_registered") == [
            itself | {"device_name": "Ann's", "remote": "127.0.0.1"}
        ]
        await phone.say_goodbye(4001)
        assert logged(relay, "phone_forwarder_read_end") == [
            itself | {"err": "closed by peer with 4001"}
        ]
        assert logged(relay, "phone_unregistered") == [itself]


async def test_a_binary_goes() -> None:
    async with running_relay() as relay:
        binary, _, its_binary, _ = await joined(relay)
        await binary.close()
        await relay.until(lambda: relay.log_of("server_released"))
        assert logged(relay, "binary_forwarder_read_end") == [
            its_binary | {"err": "closed by peer without a close frame"}
        ]
        assert logged(relay, "server_released") == [its_binary]


async def test_a_frame_for_a_binary_that_has_gone() -> None:
    async with running_relay() as relay:
        binary, phone, _, itself = await joined(relay)
        await binary.close()
        await relay.until(lambda: relay.log_of("server_released"))
        phone.send_text("1")
        assert await phone.closed() == (1000, "")
        assert logged(relay, "phone_forwarder_no_binary") == [itself]


async def test_a_claim_that_is_refused_and_one_that_takes_over() -> None:
    async with running_relay(intervals={"takeover_probe": 0.05}) as relay:
        incumbent, refused = await relay.binary(), await relay.binary()
        incumbent.send(client_frame((await incumbent.frame()).payload, PONG))
        assert (await refused.closed())[0] == 4409
        who = {"server_id": "s1", "remote": "127.0.0.1"}
        assert logged(relay, "server_id_conflict") == [who]
        await relay.binary()
        await relay.until(lambda: relay.log_of("server_id_takeover"))
        assert logged(relay, "server_id_takeover") == [who]


async def test_phones_that_are_refused() -> None:
    async with running_relay(limits={"phones": 1}) as relay:
        assert (await (await relay.phone()).closed())[0] == 4404
        await joined(relay)
        assert (await (await relay.phone()).closed())[0] == 4429
        who = {"server_id": "s1", "remote": "127.0.0.1"}
        assert logged(relay, "phone_register_no_server") == [who]
        assert logged(relay, "phone_register_at_cap") == [who]


async def test_attempts_that_are_refused() -> None:
    who = {"remote": "127.0.0.1", "path": "/v1/client"}
    async with running_relay(limits={"upgrade_burst": 1, "upgrade_refill": 1e6}) as relay:
        await relay.binary()
        assert (await ask(relay, "/v1/client", upgrade_headers(CLIENT)))[0] == 429
        assert logged(relay, "rate_limited") == [who]
    async with running_relay(limits={"connections": 1}) as relay:
        await relay.binary()
        assert (await ask(relay, "/v1/client", upgrade_headers(CLIENT)))[0] == 503
        assert logged(relay, "conn_cap_reached") == [who]


async def test_what_a_binary_says() -> None:
    async with running_relay() as relay:
        binary, phone, its_binary, itself = await joined(relay)
        binary.send_text("nonsense")
        binary.send_json({"conn_id": "x" * 10_000, "frame": 1})
        binary.send_json({"push_wake": {"platform": "fcm", "token": "device"}})
        binary.send_json({"conn_id": itself["conn_id"], "close_code": 4426})
        assert (await phone.closed())[0] == 4426
        assert logged(relay, "binary_forwarder_unmarshal_err") == [
            its_binary | {"err": "not an envelope"}
        ]
        assert logged(relay, "binary_forwarder_unknown_conn_id") == [
            {"server_id": "s1", "conn_id": "x" * 512}
        ]
        assert logged(relay, "binary_forwarder_push_wake_dropped") == [
            its_binary | {"err": "push is off"}
        ]
        assert logged(relay, "binary_forwarder_phone_closed") == [itself | {"close_code": "4426"}]


async def test_what_a_phone_says() -> None:
    async with running_relay() as relay:
        _, phone, _, itself = await joined(relay)
        phone.send_text("nonsense")
        assert (await phone.closed())[0] == 1007
        assert logged(relay, "phone_forwarder_marshal_err") == [
            itself | {"err": "message is not valid JSON"}
        ]
        babbler = await relay.phone()
        babbler.send(client_frame(b"", PONG) * 1001)
        assert (await babbler.closed())[0] == 1008
        assert len(logged(relay, "useless_frames")) == 1


async def test_a_binary_that_is_being_closed_gets_no_notice_and_needs_no_line() -> None:
    async with running_relay(intervals={"close": 1000.0}) as relay:
        binary, phone, its_binary, _ = await joined(relay)
        binary.send(client_frame(b"", masked=False))
        assert (await binary.closed(answer=False))[0] == 1002
        assert logged(relay, "server_released") == [its_binary]
        await phone.say_goodbye()
        assert not relay.log_of("phone_close_notice_send_failed")


async def test_what_waited_for_a_binary_that_ends() -> None:
    async with running_relay(limits={"binary_backlog_bytes": 2**30}) as relay:
        binary, phone, _, itself = await joined(relay)
        binary.stop_reading()
        for _ in range(20):
            phone.send_text('"' + "x" * 200_000 + '"')
        await relay.until(lambda: relay.held > 200_000)
        phone.send(client_frame(close_payload(1000), CLOSE))
        await relay.until(lambda: relay.log_of("phone_unregistered"))
        await binary.close()
        lost = itself | {"err": "the binary's connection has ended"}
        await relay.until(lambda: relay.log_of("server_released"))
        assert logged(relay, "phone_forwarder_send_failed") == [lost]
        assert logged(relay, "phone_close_notice_send_failed") == [lost]


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("how", ["too much", "too slow", "gone"])
async def test_what_waited_for_a_phone_that_ends(how: str, directed: bool) -> None:
    limits = {"phone_backlog_bytes": 1_000_000 if how == "too much" else 2**30}
    async with running_relay(intervals={"write": 1000.0}, limits=limits) as relay:
        binary = await relay.binary()
        phone = await relay.phone(window=4096)
        await relay.until(lambda: relay.log_of("phone_registered"))
        (itself,) = logged(relay, "phone_registered")
        itself = {key: itself[key] for key in ("server_id", "conn_id")}
        phone.stop_reading()
        (inside,) = relay.phones_of("s1")
        frame = {"conn_id": itself["conn_id"], "frame": "x" * 200_000}
        for _ in range(20):
            binary.send_json(frame)
        if directed:
            binary.send_json(frame | {"close_code": 4401})
        if how != "too much":
            await relay.until(lambda: relay.buffered > 2_000_000)
            if directed:
                await relay.until(lambda: relay.log_of("binary_forwarder_phone_closed"))
        if how == "gone":
            await phone.close()
        elif how == "too slow":
            inside.on_write_stalled()  # as its connection calls it; see test_liveness.py
        event = "binary_forwarder_phone_send_failed"
        why = {"too slow": "write stalled", "gone": "the phone's connection has ended"}
        if how == "too much":
            event, why[how] = "binary_forwarder_phone_enqueue_failed", "phone backlog full"
        elif directed:
            event, itself["close_code"] = "binary_forwarder_close_frame_send_failed", "4401"
        await relay.until(lambda: relay.log_of(event))
        assert logged(relay, event) == [itself | {"err": why[how]}]


async def test_the_count_of_a_flood_that_is_over_is_written() -> None:
    async with running_relay(intervals={"log_flood": 1.0}) as relay:
        phones = await asyncio.gather(*(relay.phone("unheld") for _ in range(WHOLE_LINES + 5)))
        for phone in phones:
            assert (await phone.closed())[0] == 4404
        await relay.until(lambda: "suppressed" in relay.log_of("phone_register_no_server")[-1])
        lines = logged(relay, "phone_register_no_server")
        whole = {"server_id": "unheld", "remote": "127.0.0.1"}
        assert lines == [whole] * WHOLE_LINES + [{"err": "5 more suppressed"}]
