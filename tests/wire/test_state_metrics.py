"""What the parts know of themselves, as a scrape shows it."""

import platform

from fastrelay import __version__
from tests.support.certificates import local_certificate
from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import client_frame, request


async def test_every_cell_is_there_from_the_first_scrape() -> None:
    async with running_relay() as relay:
        build = {"version": __version__, "python": platform.python_version()}
        assert relay.value("build_info", **build) == 1
        for cap in ("relay", "address"):
            assert relay.value("connections_refused_total", cap=cap) == 0
        for direction in ("phone_to_binary", "binary_to_phone"):
            assert relay.value("forwarded_bytes_total", direction=direction) == 0
        assert relay.value("takeovers_total") == relay.value("phones_evicted_total") == 0
        assert relay.value("phone_backlog_bytes") == 0
        names = {name for name, _ in relay.samples()}
        assert "process_resident_memory_bytes" in names
        assert not [name for name in names if "certificate" in name or name.endswith("_created")]


async def test_refusals_by_cap() -> None:
    limits = {"connections": 2, "connections_per_ip": 1}
    async with running_relay(limits=limits, trusted_proxies=()) as relay:
        await relay.binary(**{"X-Forwarded-For": "198.51.100.1"})
        await refused(relay, "198.51.100.1")
        await relay.phone(**{"X-Forwarded-For": "198.51.100.2"})
        await refused(relay, "198.51.100.3")
        assert relay.value("connections_refused_total", cap="address") == 1
        assert relay.value("connections_refused_total", cap="relay") == 1


async def refused(relay: RunningRelay, source: str) -> None:
    client = await relay.http()
    client.send(request("/v1/client", {"X-Forwarded-For": source}))
    assert (await client.response())[0] == 503


async def test_bytes_are_those_on_the_wire() -> None:
    async with running_relay() as relay:
        binary, phone = await relay.binary(), await relay.phone()
        phone.send(client_frame(b"1") + client_frame(b'"two"'))
        first, second = await binary.text(), await binary.text()
        up = relay.value("forwarded_bytes_total", direction="phone_to_binary")
        assert up == len(first) + len(second) + 2 * 2
        conn_id = first.split(b'"')[3]
        binary.send_text(b'{"conn_id":"%b","frame":"%b"}' % (conn_id, b"x" * 70_000))
        down = len(await phone.text()) + 10
        assert relay.value("forwarded_bytes_total", direction="binary_to_phone") == down


async def test_takeovers_and_evictions() -> None:
    async with running_relay(intervals={"takeover_probe": 0.05}) as relay:
        await relay.binary()
        phones = [await relay.phone() for _ in range(2)]
        await relay.binary()  # and nobody answers the probe
        for phone in phones:
            assert await phone.closed() == (4404, "binary reclaimed server-id")
        assert relay.value("takeovers_total") == 1
        assert relay.value("phones_evicted_total") == 2


async def test_the_backlog_is_what_is_held() -> None:
    async with running_relay() as relay:
        binary, phone = await relay.binary(), await relay.phone(window=4096)
        phone.send_text("1")
        conn_id = (await binary.json())["conn_id"].encode()
        phone.stop_reading()
        envelope = b'{"conn_id":"%b","frame":"%b"}' % (conn_id, b"x" * 200_000)
        for _ in range(40):
            binary.send_text(envelope)
        await relay.until(lambda: relay.value("phone_backlog_bytes") > 200_000)
        assert relay.value("phone_backlog_bytes") == relay.buffered


async def test_timers_tell_how_late_they_are() -> None:
    async with running_relay() as relay:
        await relay.until(lambda: relay.value("event_loop_lag_seconds_count") > 3)
        count = relay.value("event_loop_lag_seconds_count")
        assert relay.value("event_loop_lag_seconds_bucket", le="+Inf") >= count


async def test_the_certificate_expires() -> None:
    async with running_relay(tls=local_certificate()) as relay:
        expiry = relay.value("certificate_expiry_timestamp_seconds")
        assert expiry == relay.relay.listeners.certificates.expires > 1_700_000_000
