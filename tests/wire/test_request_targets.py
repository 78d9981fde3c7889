"""What a request is for: forms of the target and hosts (RFC 9112 §3.2, RFC 9110 §7.2)."""

import pytest

from tests.support.attempts import SERVER
from tests.support.harness import running_relay
from tests.support.peer import request, upgrade_headers


def asks(target: str = "/healthz", *lines: bytes) -> bytes:
    """A request with these lines and nothing else."""
    return b"\r\n".join([b"GET %b HTTP/1.1" % target.encode(), *lines, b"", b""])


NO_HOSTS = {
    "a path": b"Host: a/b",
    "a query": b"Host: a?b",
    "a fragment": b"Host: a#b",
    "a space": b"Host: a b",
    "a tab": b"Host: a\tb",
    "a port of letters": b"Host: a:b",
    "a negative port": b"Host: a:-1",
    "two ports": b"Host: a:1:2",
    "nothing but a port": b"Host: :80",
    "user information": b"Host: u@a",
    "an open bracket": b"Host: [::1",
    "a closed bracket": b"Host: ::1]",
    "brackets around a name": b"Host: [a]",
    "brackets around IPv4": b"Host: [127.0.0.1]",
    "brackets around nothing": b"Host: []",
    "something behind brackets": b"Host: [::1]a",
    "IPv6 without brackets": b"Host: ::1",
    "too many groups": b"Host: [1:2:3:4:5:6:7:8:9]",
    "a zone": b"Host: [fe80::1%25eth0]",
    "a future literal without a version": b"Host: [v.a]",
    "a list": b"Host: a, b",
    "bytes beyond ASCII": "Host: r\xe9lay".encode(),
    "one byte beyond ASCII": b"Host: a\xff",
    "half an escape": b"Host: a%4",
    "an escape that is none": b"Host: a%zz",
    "a quote": b'Host: "a"',
    "a backslash": b"Host: a\\b",
    "a brace": b"Host: {a}",
    "a fold within": b"Host: a\r\n b",
    "a fold before": b"Host:\r\n a",
    "a fold behind": b"Host: a\r\n\t",
    "a fold with bare LF": b"Host: a\n b",
    "a fold of another case": b"hOsT:\r\n a",
}


@pytest.mark.parametrize("line", NO_HOSTS.values(), ids=NO_HOSTS)
async def test_a_host_that_is_none_is_400_and_the_end(line: bytes) -> None:
    async with running_relay() as relay:
        for lines in (line, b"X-A: b"), (b"X-A: b", line):
            client = await relay.http()
            client.send(asks("/healthz", *lines) + request("/healthz"))
            status, headers, _ = await client.response()
            assert (status, headers["connection"]) == (400, "close")
            assert await client.at_eof()


HOSTS = {
    "a name": b"Host: relay.test",
    "a name and a port": b"Host: relay.test:443",
    "an empty port": b"Host: a:",
    "IPv4": b"Host: 127.0.0.1:80",
    "IPv6": b"Host: [::1]:80",
    "IPv6 without a port": b"Host: [2001:db8::1]",
    "IPv6 with IPv4 in it": b"Host: [::ffff:192.0.2.1]",
    "a future literal": b"Host: [v1.a:b]",
    "an underscore": b"Host: relay_1.test",
    "escapes": b"Host: r%C3%A9lay",
    "other characters of names": b"Host: a!$&'()*+,;=~-",
    "a dot at the end": b"Host: relay.test.",
    "empty": b"Host:",
    "spaces around": b"Host:  \trelay.test \t",
    "a folded header behind": b"Host: a\r\nX-A: b\r\n c",
    "a folded header whose name ends so": b"Host: a\r\nX-Host: b\r\n c",
}


@pytest.mark.parametrize("line", HOSTS.values(), ids=HOSTS)
async def test_any_other_host_is_served(line: bytes) -> None:
    async with running_relay() as relay:
        client = await relay.http()
        for _ in range(2):
            client.send(asks("/healthz", line))
            assert (await client.response())[0] == 200


async def test_http_1_0_needs_no_host_but_may_have_no_bad_one() -> None:
    async with running_relay() as relay:
        for lines, expected in (b"", 200), (b"Host: a\r\n", 200), (b"Host: a b\r\n", 400):
            client = await relay.http()
            client.send(b"GET /healthz HTTP/1.0\r\n" + lines + b"\r\n")
            assert (await client.response())[0] == expected


ABSOLUTE = {
    "http://relay.test/healthz": 200,
    "http://relay.test:80/healthz?x=/": 200,
    "https://relay.test/healthz": 200,
    "HTTP://RELAY.test/healthz": 200,
    "http://[::1]:80/healthz": 200,
    "http://other.test/healthz": 200,
    "http://relay.test": 404,
    "http://relay.test?/healthz": 404,
    "http://relay.test//healthz": 404,
    "http://relay.test/healthz#x": 404,
    "ftp://relay.test/healthz": 404,
    "http:/healthz": 404,
    "http:///healthz": 400,
    "http://u@relay.test/healthz": 400,
    "http://relay.test:x/healthz": 400,
    "http://[::1/healthz": 400,
    "http://re%lay.test/healthz": 400,
}


@pytest.mark.parametrize(("target", "expected"), ABSOLUTE.items(), ids=ABSOLUTE)
async def test_an_absolute_target_is_taken_for_its_path(target: str, expected: int) -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(asks(target, b"Host: relay.test"))
        assert (await client.response())[0] == expected
        if expected != 400:
            client.send(request("/healthz"))
            assert (await client.response())[0] == 200


async def test_an_absolute_target_needs_a_good_host_as_well() -> None:
    async with running_relay() as relay:
        for lines in (), (b"Host: a b",), (b"Host: a", b"Host: a"):
            client = await relay.http()
            client.send(asks("http://relay.test/healthz", *lines))
            assert (await client.response())[0] == 400


async def test_an_absolute_target_of_an_endpoint_is_upgraded_and_logged_as_its_path() -> None:
    limits = {"upgrade_burst": 1, "upgrade_refill": 1e6}
    async with running_relay(limits=limits) as relay:
        target = "http://relay.test/v1/server?x"
        client = await relay.http()
        client.send(request(target, upgrade_headers(SERVER)))
        assert (await client.response())[0] == 101
        assert relay.value("connected_binaries") == 1
        client = await relay.http()
        client.send(request(target, upgrade_headers(SERVER)))
        assert (await client.response())[0] == 429
        assert " path=/v1/server" in relay.log_of("rate_limited")[0]
