"""Plain requests over real sockets: /healthz, what is not there, and the metrics listener."""

import pytest

from fastrelay import __version__
from tests.support.attempts import SERVER, attempts
from tests.support.harness import running_relay
from tests.support.peer import open_http, request, upgrade_headers


async def test_healthz_is_literal() -> None:
    async with running_relay() as relay:
        await relay.binary()
        await relay.phone()
        client = await relay.http()
        client.send(request("/healthz"))
        status, headers, body = await client.response()
        assert status == 200
        assert headers["content-type"] == "application/json; charset=utf-8"
        assert headers["cache-control"] == "no-store"
        assert body == (
            b'{"status":"ok","version":"%b","connected_binaries":1,"connected_phones":1,'
            b'"uptime_seconds":0}' % __version__.encode()
        )


async def test_healthz_is_for_reading() -> None:
    async with running_relay() as relay:
        for method, expected in (("HEAD", 200), ("POST", 404), ("PUT", 404)):
            client = await relay.http()
            client.send(request("/healthz", method=method))
            assert (await client.response(method))[0] == expected


async def test_healthz_passes_no_other_gate() -> None:
    limits = {"upgrade_burst": 1, "upgrade_refill": 1e6, "connections": 1}
    async with running_relay(limits=limits) as relay:
        await relay.binary()
        client = await relay.http()
        for _ in range(5):
            client.send(request("/healthz?from=monitoring"))
            assert (await client.response())[0] == 200
        assert attempts(relay) == {("server", "accept"): 1}


async def test_plain_requests_share_a_connection_and_may_be_pipelined() -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(request("/healthz") + request("/nothing") + request("/healthz", method="HEAD"))
        assert (await client.response())[0] == 200
        assert (await client.response())[0] == 404
        status, headers, body = await client.response("HEAD")
        assert (status, body) == (200, b"")
        assert int(headers["content-length"]) > 50
        client.send(request("/v1/server", upgrade_headers(SERVER)))
        assert (await client.response())[0] == 101


async def test_a_connection_serves_a_hundred_requests() -> None:
    async with running_relay(intervals={"head": 1000.0}) as relay:
        client = await relay.http()
        for _ in range(100):
            client.send(request("/healthz"))
            assert (await client.response())[0] == 200
        assert await client.at_eof()


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/server/", "/v1/Server", "/metrics", "*"])
async def test_anything_else_is_404(path: str) -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(request(path, upgrade_headers(SERVER), "OPTIONS" if path == "*" else "GET"))
        assert (await client.response())[0] == 404
        assert not attempts(relay)


async def test_the_metrics_listener_serves_nothing_else() -> None:
    async with running_relay() as relay:
        for path, method, expected in (
            ("/metrics", "GET", 200),
            ("/metrics", "POST", 405),
            ("/healthz", "GET", 404),
            ("/v1/server", "GET", 404),
        ):
            client = relay.own(await open_http(relay.metrics_port))
            client.send(request(path, upgrade_headers(SERVER), method))
            assert (await client.response())[0] == expected
