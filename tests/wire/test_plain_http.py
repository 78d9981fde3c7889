"""Plain requests over real sockets: /healthz, what is not there, and the metrics listener."""

import pytest

from fastrelay import __version__
from tests.support.attempts import SERVER, attempts
from tests.support.harness import RunningRelay, running_relay
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
        for method in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"):
            client = await relay.http()
            client.send(request("/healthz", method=method))
            status, headers, _ = await client.response(method)
            if method == "HEAD":
                assert status == 200
            else:
                assert (status, headers["allow"]) == (405, "GET, HEAD")


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
        for number in range(1, 101):
            client.send(request("/healthz"))
            status, headers, _ = await client.response()
            assert status == 200
            assert headers.get("connection") == ("close" if number == 100 else None)
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
            ("/metrics", "HEAD", 200),
            ("/metrics", "POST", 405),
            ("/metrics", "OPTIONS", 405),
            ("/healthz", "GET", 404),
            ("/v1/server", "GET", 404),
        ):
            client = relay.own(await open_http(relay.metrics_port))
            client.send(request(path, upgrade_headers(SERVER), method))
            status, headers, _ = await client.response(method)
            assert status == expected
            assert headers.get("allow") == ("GET, HEAD" if status == 405 else None)


async def scraped(relay: RunningRelay, target: str, *lines: str, version: str = "1.1") -> int:
    """The answer to a request for the metrics."""
    head = "\r\n".join([f"GET {target} HTTP/{version}", *lines, "", ""])
    client = relay.own(await open_http(relay.metrics_port))
    client.send(head.encode())
    return (await client.response())[0]


OWN_HOSTS = [
    *("localhost", "localhost:9090", "LocalHost.", "a.localhost", "ip6-localhost", "ip6-loopback"),
    *("127.0.0.1", "127.0.0.1:9090", "[::1]:9090", "127.7.7.7", "192.0.2.7", "[2001:db8::7]:1"),
]
FOREIGN_HOSTS = [
    *("evil.example", "evil.example:9090", "relay", "localhost.evil.example", "notlocalhost"),
    *("127.0.0.1.evil.example", "[v1.a]", "127.1", "2130706433", "0x7f.1", "%6cocalhost", ""),
]


async def test_a_scrape_by_an_address_or_a_loopback_name_is_answered() -> None:
    async with running_relay() as relay:
        for host in OWN_HOSTS:
            assert await scraped(relay, "/metrics", f"Host: {host}") == 200, host
        assert await scraped(relay, "http://localhost/metrics", "Host: evil.example") == 200
        assert await scraped(relay, "/metrics", version="1.0") == 200


async def test_a_scrape_by_a_foreign_name_is_misdirected() -> None:
    async with running_relay() as relay:
        for host in FOREIGN_HOSTS:
            assert await scraped(relay, "/metrics", f"Host: {host}") == 421, host
        assert await scraped(relay, "http://evil.example/metrics", "Host: localhost") == 421
        assert await scraped(relay, "/metrics", "Host: evil.example", version="1.0") == 421
