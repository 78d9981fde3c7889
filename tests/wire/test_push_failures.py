"""Push wakes that fail: every way an endpoint can, over real sockets; no output shows a secret."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.support.google import ACCESS, DEVICE, Handler, answer, google, server_tls
from tests.support.pushing import ended, only, pushing, reason, wake


@pytest.mark.parametrize(
    ("handler", "outcome", "err"),
    [
        (answer(404, "UNREGISTERED", "NOT_FOUND"), "unregistered", "404 NOT_FOUND UNREGISTERED"),
        (answer(404, error="NOT_FOUND"), "send_failed", "404 NOT_FOUND"),
        (
            answer(400, "INVALID_ARGUMENT"),
            "send_failed",
            "400 INVALID_ARGUMENT",
        ),
        (answer(403, "SENDER_ID_MISMATCH"), "send_failed", "403 SENDER_ID_MISMATCH"),
        (answer(429, "QUOTA_EXCEEDED"), "send_failed", "429 QUOTA_EXCEEDED"),
        (answer(500, "INTERNAL", "INTERNAL"), "send_failed", "500 INTERNAL"),
        (answer(503, "not enum-shaped", "X" * 65), "send_failed", "503"),
        (answer(503, DEVICE, ACCESS + "1"), "send_failed", "503"),
        (answer(400, "UNREGISTERED"), "send_failed", "400 UNREGISTERED"),
        (answer(204), "send_failed", "204"),
    ],
)
async def test_a_refused_send(handler: Handler, outcome: str, err: str) -> None:
    async with google() as fake, pushing(fake) as relay:
        fake.on_send = handler
        wake(await relay.binary())
        assert await ended(relay, 1) == only(**{outcome: 1})
        assert reason(relay) == f"HTTP {err}"
        fake.on_send = fake.send
        wake(await relay.binary("s2"))
        assert await ended(relay, 2) == only(**{outcome: 1}, sent=1)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"access_token":"a\\nb","expires_in":3599}'),
        (200, b'{"access_token":"","expires_in":3599}'),
        (200, b'{"access_token":"\xc3\xa9","expires_in":3599}'),
        (200, b'{"access_token":"a","expires_in":"soon"}'),
        (200, b'{"access_token":"a"}'),
        (200, b'{"id_token":"a","expires_in":3599}'),
        (200, b"\xff"),
        (200, b"["),
        (201, b'{"access_token":"a","expires_in":3599}'),
        (403, b'{"error":{"status":"PERMISSION_DENIED"}}'),
        (429, b""),
        (500, b"<html>"),
    ],
)
async def test_a_grant_that_is_none(status: int, body: bytes) -> None:
    async def reply(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    async with google() as fake, pushing(fake) as relay:
        fake.on_token = reply
        wake(await relay.binary())
        assert await ended(relay, 1) == only(token_fetch_failed=1)
        wanted = {200: "HTTP 200 UNREADABLE", 403: "HTTP 403 PERMISSION_DENIED"}
        assert reason(relay) == f"access token: {wanted.get(status, f'HTTP {status}')}"
        assert len(fake.calls) == 1


async def test_a_reply_is_not_unpacked() -> None:
    async def packed(request: web.Request) -> web.Response:
        body = gzip.compress(b'{"error":{"status":"NOT_FOUND"}}')
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(status=404, body=body, headers={"Content-Encoding": "gzip"})

    async with google() as fake, pushing(fake) as relay:
        fake.on_send = packed
        wake(await relay.binary())
        assert await ended(relay, 1) == only(send_failed=1)
        assert reason(relay) == "HTTP 404"


async def test_a_code_that_repeats_what_was_sent_is_not_logged() -> None:
    async with google() as fake, pushing(fake) as relay:
        fake.on_send = answer(400, "SECRET_DEVICE", "INVALID_ARGUMENT")
        wake(await relay.binary(), "A_SECRET_DEVICE_TOKEN")
        assert await ended(relay, 1) == only(send_failed=1)
        assert reason(relay) == "HTTP 400 INVALID_ARGUMENT"


@pytest.mark.parametrize("endpoint", ["on_send", "on_token"])
async def test_a_redirect_is_not_followed(endpoint: str) -> None:
    async with google() as fake, pushing(fake) as relay:
        setattr(fake, endpoint, fake.redirect)
        wake(await relay.binary())
        cell = "send_failed" if endpoint == "on_send" else "token_fetch_failed"
        assert await ended(relay, 1) == only(**{cell: 1})
        assert reason(relay).endswith("HTTP 307")
        assert not [path for path in fake.calls if "elsewhere" in path]


async def test_of_a_huge_reply_only_the_beginning_is_read() -> None:
    async with google() as fake, pushing(fake) as relay:
        fake.on_send = fake.endless
        wake(await relay.binary())
        assert await ended(relay, 1) == only(sent=1)  # the status said so
        async with asyncio.timeout(40):
            await fake.dropped.wait()  # and the rest was not waited for
        fake.dropped.clear()
        fake.on_send, fake.on_token = fake.send, fake.endless
        fake.valid.clear()
        wake(await relay.binary("s2"))
        assert await ended(relay, 2) == only(sent=1, token_fetch_failed=1)
        assert reason(relay) == "access token: HTTP 200 UNREADABLE"
        async with asyncio.timeout(40):
            await fake.dropped.wait()


@pytest.mark.parametrize("endpoint", ["on_send", "on_token"])
@pytest.mark.parametrize("slow", ["wait", "dribble"])
async def test_a_slow_reply_is_given_up(endpoint: str, slow: str) -> None:
    async with google() as fake, pushing(fake, intervals={"push_call": 0.6}) as relay:
        setattr(fake, endpoint, getattr(fake, slow))
        wake(await relay.binary())
        cell = "send_failed" if endpoint == "on_send" else "token_fetch_failed"
        assert await ended(relay, 1) == only(**{cell: 1})
        assert reason(relay).endswith("TIMEOUT")


@asynccontextmanager
async def raw_server(reply: bytes) -> AsyncIterator[str]:
    """Says ``reply`` to whatever comes, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\n\r\n", b"\x15\x03\x03\0\x02\x02\x28", b""])
async def test_a_server_that_speaks_no_tls(reply: bytes) -> None:
    async with google() as fake, raw_server(reply) as url:
        async with pushing(fake, push={"endpoint": url}) as relay:
            wake(await relay.binary())
            assert await ended(relay, 1) == only(send_failed=1)
            assert reason(relay) in ("TLS_FAILED", "CONNECT_FAILED")


async def test_a_server_whose_certificate_is_for_another_name() -> None:
    async with google() as fake, google(server_tls("127.0.0.2")) as other:
        async with pushing(fake, push={"endpoint": other.url}) as relay:
            wake(await relay.binary())
            assert await ended(relay, 1) == only(send_failed=1)
            assert reason(relay) == "TLS_FAILED"
        assert other.calls == []


async def test_a_server_nobody_vouches_for() -> None:
    async with google() as fake, pushing(fake, push={"ca_file": None}) as relay:
        wake(await relay.binary())
        assert await ended(relay, 1) == only(token_fetch_failed=1)
        assert reason(relay) == "access token: TLS_FAILED"
        assert fake.calls == []


@pytest.mark.parametrize("flag", ["endpoint", "token_url"])
@pytest.mark.parametrize("why", ["CONNECT_FAILED", "DNS_FAILED"])
async def test_a_server_that_is_not_there(flag: str, why: str) -> None:
    with socket.socket() as bound:  # taken, and nobody listens
        bound.bind(("127.0.0.1", 0))
        host = {"CONNECT_FAILED": "127.0.0.1", "DNS_FAILED": "push.invalid"}[why]
        url = f"https://{host}:{bound.getsockname()[1]}"
        async with google() as fake, pushing(fake, push={flag: url}) as relay:
            wake(await relay.binary())
            cell = "send_failed" if flag == "endpoint" else "token_fetch_failed"
            assert await ended(relay, 1) == only(**{cell: 1})
            assert reason(relay).endswith(why)


async def test_a_name_that_cannot_be_one() -> None:
    async with google() as fake:
        async with pushing(fake, push={"endpoint": f"https://{'a' * 64}.invalid"}) as relay:
            wake(await relay.binary())
            assert await ended(relay, 1) == only(send_failed=1)
            assert reason(relay) == "DNS_FAILED"
