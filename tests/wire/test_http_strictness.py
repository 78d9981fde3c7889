"""Requests that two parsers could read in two ways: each has one answer, and nothing follows it.

Sources: RFC 9112 (message syntax), RFC 9110 §7 (routing), RFC 6455 §4.2.1.
"""

import asyncio

import pytest

from tests.support.harness import running_relay
from tests.support.peer import client_frame, request, upgrade_headers

SERVER = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1.2.3"}
UPGRADE = request("/v1/server", upgrade_headers(SERVER))
SMUGGLED = request("/healthz")
"""What would be answered with 200 if it were taken for a request."""


def raw(*lines: str, target: str = "/healthz", method: str = "GET", version: str = "1.1") -> bytes:
    """A request of exactly these lines."""
    head = [f"{method} {target} HTTP/{version}", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


HOST = "Host: relay.test"

REFUSED: dict[str, tuple[bytes, int]] = {
    "two lengths": (raw(HOST, "Content-Length: 0", "Content-Length: 5"), 400),
    "a list of lengths": (raw(HOST, "Content-Length: 0, 5"), 400),
    "length +0": (raw(HOST, "Content-Length: +0"), 400),
    "a length that is no number": (raw(HOST, "Content-Length: 1e3"), 400),
    "a length of 40 digits": (raw(HOST, "Content-Length: " + "1" * 40), 400),
    "an unknown transfer coding": (raw(HOST, "Transfer-Encoding: xchunked"), 501),
    "chunked and something": (raw(HOST, "Transfer-Encoding: gzip, chunked"), 501),
    "chunked twice": (raw(HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 501),
    "a space before the colon": (raw(HOST, "X-A : b"), 400),
    "a tab before the colon": (raw(HOST, "X-A\t: b"), 400),
    "a header without a colon": (raw(HOST, "X-A"), 400),
    "a header without a name": (raw(HOST, ": b"), 400),
    "NUL in a value": (raw(HOST, "X-A: a\0b"), 400),
    "CR in a value": (raw(HOST, "X-A: a\rX-B: b"), 400),
    "a control character in a name": (raw(HOST, "X\x01A: b"), 400),
    "a first header that is folded": (raw(" X-A: b", HOST), 400),
    "no Host": (raw("X-A: b"), 400),
    "two Hosts": (raw(HOST, HOST), 400),
    "a Host that is a list of bytes": (raw("Host: a\x80b c\x00"), 400),
    "a space in the target": (raw(HOST, target="/heal thz"), 400),
    "a control character in the target": (raw(HOST, target="/\x01"), 400),
    "bytes above ASCII in the target": (raw(HOST, target="/\xff"), 400),
    "two empty lines before": (b"\r\n\r\n" + raw(HOST), 400),
    "two empty lines before, in LF": (b"\n\n" + raw(HOST), 400),
    "CR and no LF before": (b"\r" + raw(HOST), 400),
    "a line of space before": (b" \r\n" + raw(HOST), 400),
    "a length and chunks": (
        raw(HOST, "Content-Length: 6", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    "no target": (b"GET  HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a version with words": (raw(HOST, version="1.1 evil"), 400),
    "HTTP/2 spelled out": (raw(HOST, version="2.0"), 505),
    "the h2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", 400),
    "a method that is no token": (raw(HOST, method="GE T"), 400),
    "many headers": (raw(HOST, *(f"X-{n}: {n}" for n in range(3000))), 431),
    "a huge header": (raw(HOST, "X-A: " + "a" * 20_000), 431),
    "a huge target": (raw(HOST, target="/" + "a" * 8192), 414),
    "a huge target and no path": (raw(HOST, target="a" * 20_000), 414),
    "a huge method": (raw(HOST, method="A" * 8192), 414),
}


@pytest.mark.parametrize(("head", "expected"), REFUSED.values(), ids=REFUSED)
async def test_refused_and_nothing_behind_it_is_read(head: bytes, expected: int) -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(head + SMUGGLED + UPGRADE)
        status, headers, body = await client.response()
        assert (status, body) == (expected, b"")
        assert headers["connection"] == "close"
        assert await client.at_eof()
        assert relay.registry_size == 0


SERVED: dict[str, tuple[bytes, int]] = {
    "authority form": (raw(HOST, target="relay.test:80", method="CONNECT"), 404),
    "asterisk form": (raw(HOST, target="*", method="OPTIONS"), 404),
    "two slashes": (raw(HOST, target="//healthz"), 404),
    "dots": (raw(HOST, target="/v1/../healthz"), 404),
    "an escaped path": (raw(HOST, target="/%68ealthz"), 404),
    "a fragment": (raw(HOST, target="/healthz#x"), 404),
    "a query": (raw(HOST, target="/healthz?/v1/server"), 200),
    "an empty line before": (b"\r\n" + raw(HOST), 200),
    "an empty line before, in LF": (b"\n" + raw(HOST), 200),
    "bare LF": (b"GET /healthz HTTP/1.1\nHost: relay.test\n\n", 200),
    "an empty value": (raw(HOST, "X-A:"), 200),
    "spaces around a value": (raw(HOST, "X-A: \t b \t"), 200),
    "a folded value": (raw(HOST, "X-A: a", " Content-Length: 5"), 200),
    "an empty body": (raw(HOST, "Content-Length: 0"), 200),
    "the same length twice": (raw(HOST, "Content-Length: 0", "Content-Length: 0"), 200),
}


@pytest.mark.parametrize(("head", "expected"), SERVED.values(), ids=SERVED)
async def test_served_as_one_request_and_the_next_is_the_next(head: bytes, expected: int) -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(head + SMUGGLED)
        assert (await client.response())[0] == expected
        assert (await client.response())[0] == 200


BODIES = {
    "a length": raw(HOST, "Content-Length: 44") + SMUGGLED,
    "chunks": raw(HOST, "Transfer-Encoding: chunked") + b"2c\r\n" + SMUGGLED + b"\r\n0\r\n\r\n",
    "chunks of nothing": raw(HOST, "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
    "chunks that are none": raw(HOST, "Transfer-Encoding: chunked") + SMUGGLED,
    "a length, over HTTP/1.0": raw("Content-Length: 9", version="1.0") + SMUGGLED,
}


@pytest.mark.parametrize("head", BODIES.values(), ids=BODIES)
async def test_a_body_is_never_read_and_nothing_follows(head: bytes) -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(head + UPGRADE)
        status, headers, _ = await client.response()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.at_eof()
        assert relay.registry_size == 0


async def test_each_request_of_a_connection_may_have_an_empty_line_before_it() -> None:
    async with running_relay() as relay:
        client = await relay.http()
        for empty in (b"\r\n", b"\n"):
            client.send((empty + SMUGGLED) * 3)  # in one read
            for _ in range(3):
                assert (await client.response())[0] == 200
        for byte in b"\r\n" + SMUGGLED + b"\r\n" + UPGRADE:
            client.send(bytes([byte]))
            await relay.until(lambda: not client.writer.transport.get_write_buffer_size())
            await asyncio.sleep(0)
        assert (await client.response())[0] == 200
        assert (await client.response())[0] == 101


async def test_an_empty_line_begins_no_head_and_gives_no_more_time() -> None:
    async with running_relay(intervals={"head": 0.05}) as relay:
        client = await relay.http()
        client.send(b"\r\n")
        assert await client.at_eof()


async def test_http_1_0_is_served_and_hung_up_on() -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(raw(version="1.0") + SMUGGLED)
        status, headers, _ = await client.response()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.at_eof()


# -- upgrade requests ------------------------------------------------------------------------------


def changed(before: bytes, after: bytes) -> bytes:
    """The good upgrade request with one thing replaced."""
    assert before in UPGRADE
    return UPGRADE.replace(before, after, 1)


NO_UPGRADES = {
    "HTTP/1.0": (changed(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "two keys": (
        changed(b"Upgrade:", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nUpgrade:"),
        400,
    ),
    "two versions": (changed(b"Upgrade:", b"Sec-WebSocket-Version: 13\r\nUpgrade:"), 426),
    "a body with a length": (changed(b"Upgrade:", b"Content-Length: 5\r\nUpgrade:"), 400),
    "a body in chunks": (changed(b"Upgrade:", b"Transfer-Encoding: chunked\r\nUpgrade:"), 400),
    "a body in chunks of nothing": (
        changed(b"Upgrade:", b"Transfer-Encoding: chunked\r\nUpgrade:") + b"0\r\n\r\n",
        400,
    ),
    "Connection: close": (changed(b"Connection: Upgrade", b"Connection: close"), 426),
    "Upgrade in another word": (changed(b"Connection: Upgrade", b"Connection: Upgrader"), 426),
    "websocket in another word": (changed(b"Upgrade: websocket", b"Upgrade: websocket2"), 426),
}


@pytest.mark.parametrize(("head", "expected"), NO_UPGRADES.values(), ids=NO_UPGRADES)
async def test_no_upgrade_and_nothing_behind_it_is_a_request(head: bytes, expected: int) -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(head + SMUGGLED + client_frame(b"1"))
        assert (await client.response())[0] == expected
        assert await client.at_eof()
        assert relay.registry_size == 0


UPGRADES = {
    "a list of connection options": changed(
        b"Connection: Upgrade", b"Connection: keep-alive, Upgrade"
    ),
    "two Connection headers": changed(b"Connection:", b"Connection: keep-alive\r\nConnection:"),
    "other cases": changed(b"Upgrade: websocket", b"uPGRADE: WebSocket"),
    "a list of protocols": changed(b"Upgrade: websocket", b"Upgrade: h2c, websocket"),
    "a query": changed(b"/v1/server", b"/v1/server?x=1"),
}


@pytest.mark.parametrize("head", UPGRADES.values(), ids=UPGRADES)
async def test_what_is_an_upgrade_all_the_same(head: bytes) -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(head)
        assert (await client.response())[0] == 101
        assert relay.registry_size == 1
