"""Admission, gate by gate, over real sockets: status, headers, order, counters, what comes next."""

import asyncio
from collections.abc import Callable
from typing import cast

import h11
import pytest

from fastrelay.http.exchange import Detached, Exchange
from fastrelay.http.handshake import switch_protocols
from fastrelay.http.responses import too_many_requests
from tests.support.attempts import CLIENT, ENDPOINTS, ERROR_HEADERS, SERVER, ask, attempts
from tests.support.harness import running_relay
from tests.support.peer import Peer, client_frame, request, upgrade_headers

Change = Callable[[dict[str, str]], object]


# -- gate 1: the request head ----------------------------------------------------------------------


async def test_a_head_that_does_not_come_in_time_is_dropped_without_a_word() -> None:
    async with running_relay(intervals={"head": 0.05}) as relay:
        silent, slow = await relay.http(), await relay.http()
        slow.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        assert await silent.at_eof()
        assert await slow.at_eof()
        assert not attempts(relay)


async def test_who_sends_a_head_byte_by_byte_has_no_more_time() -> None:
    async with running_relay(intervals={"head": 0.1}) as relay:
        slow = await relay.http()
        slow.send(b"GET /healthz HTTP/1.1\r\nX: ")
        for _ in range(200):
            if slow.reader.at_eof() or slow.reader.exception():
                break
            slow.send(b"x")
            await asyncio.sleep(0.01)
        else:
            pytest.fail("two seconds, and it is still heard")


async def test_who_still_sends_when_it_is_refused_reads_why() -> None:
    async with running_relay(intervals={"linger": 1000.0}) as relay:
        client = await relay.http()
        client.send(request("/v1/server"))
        await relay.until(lambda: attempts(relay))
        for _ in range(10):
            client.send(b"x" * 10_000)
            await asyncio.sleep(0.005)
        assert (await client.response())[0] == 400
        assert await client.at_eof()


async def test_who_does_not_hang_up_when_it_is_refused_is_dropped() -> None:
    async with running_relay(intervals={"linger": 0.05}) as relay:
        client = await relay.http()
        client.send(request("/v1/server"))
        assert (await client.response())[0] == 400
        await relay.until(lambda: relay.pending == 0)


async def test_a_head_of_16_kib_passes_and_one_byte_more_is_431() -> None:
    async with running_relay() as relay:
        for extra, expected in ((0, 200), (1, 431)):
            client = await relay.http()
            head = request("/healthz", {"X-Fill": ""})
            filler = b"f" * (16 * 1024 - len(head) + extra)
            client.send(head.replace(b"X-Fill: ", b"X-Fill: " + filler))
            assert (await client.response())[0] == expected


async def test_a_request_line_of_8_kib_passes_and_one_byte_more_is_414() -> None:
    async with running_relay() as relay:
        for end in (b"\r\n", b"\n"):
            for extra, expected in ((0, 200), (1, 414)):
                size = 8192 - len(b"GET /healthz? HTTP/1.1") + extra
                head = request("/healthz?" + "q" * size).replace(b"\r\n", end)
                for pieces in (head,), (head[:8193], head[8193:]), (head[:-1], head[-1:]):
                    client = await relay.http()
                    for piece in pieces:
                        client.send(piece)
                        await asyncio.sleep(0.01)
                    assert (await client.response())[0] == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /" + b"a" * 20_000, 414),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000, 431),
        (b"GET /healthz HTTP/2.0\r\nHost: a b\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
)
async def test_a_head_that_is_too_large_is_that_however_it_is_cut(
    head: bytes, expected: int
) -> None:
    async with running_relay() as relay:
        for step in len(head), 8192, 1000:
            client = await relay.http()
            for begin in range(0, len(head), step):
                client.send(head[begin : begin + step])
                await asyncio.sleep(0)
            assert (await client.response())[0] == expected
            assert await client.at_eof()


@pytest.mark.parametrize("end", ["\r\n", "\n"])
async def test_a_hundred_fields_pass_and_one_more_is_431(end: str) -> None:
    async with running_relay() as relay:
        for fields, expected in ((100, 200), (101, 431)):
            lines = ["GET /healthz HTTP/1.1", "Host: a", *["X:"] * (fields - 1)]
            head = (end.join(lines) + end * 2).encode()
            for pieces in (head,), (head[:-3], head[-3:]), (head[:-1], head[-1:]):
                client = await relay.http()
                for piece in pieces:
                    client.send(piece)
                    await asyncio.sleep(0.01)
                assert (await client.response())[0] == expected


async def test_lines_behind_a_head_are_no_fields() -> None:
    async with running_relay() as relay:
        binary = await relay.binary()
        head = request("/v1/client", upgrade_headers(ENDPOINTS[1][1]))
        early = client_frame(b"\n" * 200 + b"1")
        for pieces in (head + early,), (head[:-1], head[-1:] + early):
            client = await relay.http()
            for piece in pieces:
                client.send(piece)
                await asyncio.sleep(0.01)
            assert (await client.response())[0] == 101
            assert (await binary.json())["frame"] == 1


async def test_a_head_that_never_ends_is_431() -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000)
        assert (await client.response())[0] == 431
        assert await client.at_eof()


@pytest.mark.parametrize(
    "head",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", b"hello\r\n\r\n", b"GET /\r\n\r\n"],
)
async def test_a_malformed_head_is_400(head: bytes) -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(head)
        status, headers, _ = await client.response()
        assert status == 400
        assert ERROR_HEADERS.items() <= headers.items()
        assert await client.at_eof()
        assert not attempts(relay)


# -- gate 2: the rate limit ------------------------------------------------------------------------


async def test_both_endpoints_share_the_bucket_of_an_address() -> None:
    async with running_relay(limits={"upgrade_burst": 2, "upgrade_refill": 7.0}) as relay:
        await relay.binary()
        await relay.phone()
        for path, headers in ENDPOINTS:
            status, got = await ask(relay, path, upgrade_headers(headers))
            assert status == 429
            assert 1 <= int(got["retry-after"]) <= 7
        assert attempts(relay) == {
            ("server", "accept"): 1,
            ("client", "accept"): 1,
            ("server", "reject_rate_limit"): 1,
            ("client", "reject_rate_limit"): 1,
            ("ratelimit",): 2,
        }
        assert relay.value("connected_phones") == 1


@pytest.mark.parametrize(("wait", "said"), [(0.01, b"1"), (1.0, b"1"), (6.01, b"7"), (7.0, b"7")])
def test_retry_after_is_in_whole_seconds_and_never_too_soon(wait: float, said: bytes) -> None:
    assert (b"Retry-After", said) in too_many_requests(wait).headers


async def test_idle_buckets_are_forgotten() -> None:
    limits = {"upgrade_burst": 5, "upgrade_refill": 0.001}
    async with running_relay(limits=limits, intervals={"bucket_sweep": 0.02}) as relay:
        await relay.binary()
        buckets = relay.relay._buckets
        assert buckets is not None
        await relay.until(lambda: len(buckets) == 0)


async def test_a_token_comes_back() -> None:
    async with running_relay(limits={"upgrade_burst": 1, "upgrade_refill": 0.05}) as relay:
        await relay.binary()
        refused = await relay.http()
        refused.send(request("/v1/client", upgrade_headers(CLIENT)))
        status = (await refused.response())[0]
        while status == 429:  # a slow machine may be given one at once
            again = await relay.http()
            again.send(request("/v1/client", upgrade_headers(CLIENT)))
            status = (await again.response())[0]
        assert status == 101


def test_the_hook_sees_the_first_status_and_no_other() -> None:
    seen: list[int] = []
    request = h11.Request(method="GET", target="/v1/client", headers=[("Host", "x")])
    http = h11.Connection(h11.SERVER)
    transport = cast("asyncio.Transport", Written())
    exchange = Exchange(
        request,
        "127.0.0.1",
        "127.0.0.1",
        transport,
        http,
        lambda: Detached(transport, None, b""),
        started_at=0.0,
    )
    exchange.on_first_status = seen.append
    switch_protocols(exchange.detach()[0], b"token", exchange.on_first_status)
    exchange.respond(too_many_requests(1))
    assert seen == [101]


class Written:
    """Where an exchange writes."""

    def write(self, data: bytes) -> None: ...


# -- gate 3: the caps ------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", ["connections", "connections_per_ip"])
async def test_over_a_cap_is_503_and_a_slot_comes_back(cap: str) -> None:
    async with running_relay(limits={cap: 2}) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        # Before the header gate: no headers at all. And it is no upgrade outcome.
        assert (await ask(relay, "/v1/server", {}))[0] == 503
        assert set(attempts(relay)) == {("server", "accept"), ("client", "accept")}
        await phone.say_goodbye()
        await binary.json()
        await relay.until(lambda: relay.live == 1)
        await relay.phone()


async def test_the_cap_per_address_is_per_address() -> None:
    async with running_relay(limits={"connections_per_ip": 1}, trusted_proxies=()) as relay:
        await relay.binary(**{"X-Forwarded-For": "198.51.100.1"})
        await relay.phone(**{"X-Forwarded-For": "198.51.100.2"})
        refused = upgrade_headers(CLIENT | {"X-Forwarded-For": "198.51.100.2"})
        assert (await ask(relay, "/v1/client", refused))[0] == 503


# -- gate 4: the headers ---------------------------------------------------------------------------


def without(name: str) -> Change:
    return lambda headers: headers.pop(name)


def with_value(name: str, value: str) -> Change:
    return lambda headers: headers.update({name: value})


SERVER_FAULTS = [
    *(without(name) for name in ("X-Pyrycode-Server", "X-Pyrycode-Version", "User-Agent")),
    *(with_value(name, "") for name in ("X-Pyrycode-Server", "X-Pyrycode-Version", "User-Agent")),
    with_value("X-Pyrycode-Server", "a" * 257),
    with_value("X-Pyrycode-Server", "sch\xf6n"),
    with_value("X-Pyrycode-Version", "1\t2"),
    with_value("User-Agent", "a" * 1025),
]
CLIENT_FAULTS = [
    without("X-Pyrycode-Token"),
    with_value("X-Pyrycode-Token", "t" * 4097),
    with_value("X-Pyrycode-Token", "\x80"),
    without("X-Pyrycode-Server"),
    without("User-Agent"),
]


@pytest.mark.parametrize(
    ("path", "good", "change"),
    [
        *(("/v1/server", SERVER, change) for change in SERVER_FAULTS),
        *(("/v1/client", CLIENT, change) for change in CLIENT_FAULTS),
    ],
)
async def test_a_bad_header_is_400_and_counted_and_logged_for_developers_only(
    path: str, good: dict[str, str], change: Change
) -> None:
    async with running_relay() as relay:
        headers = upgrade_headers(good)
        change(headers)
        assert (await ask(relay, path, headers))[0] == 400
        assert attempts(relay) == {(path.rpartition("/")[2], "reject_headers"): 1}
        assert relay.registry_size == 0
        (line,) = relay.lines
        assert " level=DEBUG msg=header_rejected " in line


async def test_a_required_header_twice_is_400() -> None:
    async with running_relay() as relay:
        client = await relay.http()
        head = request("/v1/server", upgrade_headers(SERVER))
        client.send(head.replace(b"\r\n\r\n", b"\r\nX-Pyrycode-Server: s2\r\n\r\n"))
        assert (await client.response())[0] == 400
        assert attempts(relay) == {("server", "reject_headers"): 1}


async def test_headers_at_their_limits_pass() -> None:
    async with running_relay() as relay:
        server_id = "~" * 256
        await relay.binary(server_id, **{"X-Pyrycode-Version": "v" * 256, "User-Agent": "u" * 1024})
        await relay.phone(server_id, **{"X-Pyrycode-Token": " t" * 2047 + "tt"})
        assert relay.value("connected_phones") == 1


async def test_the_device_name_is_any_text_logged_escaped_and_cut() -> None:
    async with running_relay() as relay:
        await relay.binary()
        name = 'Ann"s \xc3\xa9 ' + "x" * 300
        await relay.phone(**{"X-Pyrycode-Device-Name": name})
        (line,) = relay.log_of("phone_registered")
        assert r'device_name="Ann\"s \u00e9 xxx' in line
        assert line.count("x") == 128 - len('Ann"s e ')
        assert "t0k3n" not in "".join(relay.lines)


async def test_any_origin_will_do() -> None:
    async with running_relay() as relay:
        await relay.binary(Origin="https://evil.example")


# -- gate 5: the handshake -------------------------------------------------------------------------

UPGRADE = {"upgrade": "websocket", "connection": "Upgrade, close", "sec-websocket-version": "13"}
HANDSHAKE_FAULTS: list[tuple[Change, int, dict[str, str]]] = [
    (without("Upgrade"), 426, UPGRADE),
    (with_value("Upgrade", "h2c"), 426, UPGRADE),
    (without("Connection"), 426, UPGRADE),
    (with_value("Connection", "keep-alive"), 426, UPGRADE),
    (with_value("Sec-WebSocket-Version", "12"), 426, UPGRADE),
    (with_value("Sec-WebSocket-Version", "13, 8"), 426, UPGRADE),
    (without("Sec-WebSocket-Version"), 400, {}),
    (without("Sec-WebSocket-Key"), 400, {}),
    (with_value("Sec-WebSocket-Key", "short"), 400, {}),
    (with_value("Sec-WebSocket-Key", "A" * 24), 400, {}),
    (with_value("Content-Length", "1"), 400, {}),
]


@pytest.mark.parametrize(("path", "good"), ENDPOINTS)
@pytest.mark.parametrize(("change", "expected", "extra"), HANDSHAKE_FAULTS)
async def test_a_bad_handshake_is_refused_and_is_no_upgrade_outcome(
    path: str, good: dict[str, str], change: Change, expected: int, extra: dict[str, str]
) -> None:
    async with running_relay() as relay:
        headers = upgrade_headers(good)
        change(headers)
        status, got = await ask(relay, path, headers)
        assert status == expected
        assert extra.items() <= got.items()
        assert not attempts(relay)
        assert relay.registry_size == 0


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_another_method_is_405(method: str) -> None:
    async with running_relay() as relay:
        status, got = await ask(relay, "/v1/server", upgrade_headers(SERVER), method)
        assert (status, got["allow"]) == (405, "GET")


async def test_no_extension_and_no_subprotocol_is_negotiated() -> None:
    async with running_relay() as relay:
        client = await relay.http()
        offer = {
            "Sec-WebSocket-Extensions": "permessage-deflate",
            "Sec-WebSocket-Protocol": "chat",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        client.send(request("/v1/server", upgrade_headers(SERVER) | offer))
        status, headers, _ = await client.response()
        assert status == 101
        assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert not {"sec-websocket-extensions", "sec-websocket-protocol"} & set(headers)


# -- the order of the gates ------------------------------------------------------------------------


async def test_whoever_refuses_first_ends_the_request() -> None:
    """A request with every fault, which one refusal after another is taken away."""
    everything = {"Upgrade": "h2c"}
    used_up = {"upgrade_burst": 1, "upgrade_refill": 1e6}
    async with running_relay(limits=used_up | {"connections": 1}) as relay:
        await relay.binary()
        assert (await ask(relay, "/v1/client", everything))[0] == 429
        assert relay.value("connections_refused_total", cap="relay") == 0
    async with running_relay(limits={"connections": 1}) as relay:
        await relay.binary()
        assert (await ask(relay, "/v1/client", everything))[0] == 503
    async with running_relay() as relay:
        assert (await ask(relay, "/v1/client", everything))[0] == 400
        headers = {**CLIENT, **everything, "User-Agent": "u"}
        assert (await ask(relay, "/v1/client", headers))[0] == 426


async def test_a_refused_attempt_takes_a_token() -> None:
    async with running_relay(limits={"upgrade_burst": 1, "upgrade_refill": 1e6}) as relay:
        assert (await ask(relay, "/v1/client", {}))[0] == 400
        assert (await ask(relay, "/v1/client", {}))[0] == 429


async def test_frames_sent_with_the_head_are_the_first_frames() -> None:
    async with running_relay() as relay:
        binary = await relay.binary()
        client = await relay.http()
        early = client_frame(b'"first"') + client_frame(b'"second"')[:5]
        client.send(request("/v1/client", upgrade_headers(CLIENT)) + early)
        assert (await client.response())[0] == 101
        phone = relay.own(Peer(client.reader, client.writer))
        assert (await binary.json())["frame"] == "first"
        phone.send(client_frame(b'"second"')[5:] + client_frame(b"3"))
        assert [(await binary.json())["frame"] for _ in range(2)] == ["second", 3]
