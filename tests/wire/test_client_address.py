"""Whose request it is, over real sockets (protocol, limits; operations, flags)."""

import json
from ipaddress import IPv4Network, ip_network

import pytest

from tests.support.attempts import CLIENT
from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import request, upgrade_headers


async def refused_as(relay: RunningRelay, forwarded: str | None) -> str:
    """The address in the log of a registration that is refused."""
    headers = {"X-Forwarded-For": forwarded} if forwarded is not None else {}
    phone = await relay.phone("nobody", **headers)
    assert (await phone.closed())[0] == 4404
    line = relay.log_of("phone_register_no_server")[-1]
    return json.loads(f'"{line.split("remote=")[1].split()[0]}"')


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 10.0.0.1, 10.0.0.2", "198.51.100.7"),
        ("198.51.100.7:1234", "198.51.100.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:198.51.100.9", "198.51.100.9"),
        (None, "127.0.0.1"),
    ],
)
async def test_the_left_most_entry_is_believed_from_anybody(
    forwarded: str | None, client: str
) -> None:
    async with running_relay(trusted_proxies=()) as relay:
        assert await refused_as(relay, forwarded) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.9, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
        ("198.51.100.7", "198.51.100.7"),
        ("10.0.0.3, 10.0.0.1", "10.0.0.3"),
        (None, "127.0.0.1"),
    ],
)
async def test_trusted_networks_are_walked_past_from_the_right(
    forwarded: str | None, client: str
) -> None:
    networks = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"))
    async with running_relay(trusted_proxies=networks) as relay:
        assert await refused_as(relay, forwarded) == client


async def test_a_peer_outside_the_networks_is_itself_the_client() -> None:
    async with running_relay(trusted_proxies=(ip_network("10.0.0.0/8"),)) as relay:
        assert await refused_as(relay, "198.51.100.7") == "127.0.0.1"


async def test_nobody_is_believed_by_default() -> None:
    async with running_relay() as relay:
        assert await refused_as(relay, "198.51.100.7") == "127.0.0.1"


@pytest.mark.parametrize(
    "forwarded", ["", " ", "unknown", "_hidden", "198.51.100.256", "a, 10.0.0.1", "::1," * 3000]
)
async def test_without_a_usable_address_it_is_the_peer(forwarded: str) -> None:
    networks = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"))
    for trusted in ((), networks):
        if trusted or "::1" not in forwarded:
            async with running_relay(trusted_proxies=trusted) as relay:
                assert await refused_as(relay, forwarded) == "127.0.0.1"


async def status_of(relay: RunningRelay, **headers: str) -> int:
    """The status of a phone's attempt."""
    client = await relay.http()
    client.send(request("/v1/client", upgrade_headers(CLIENT | headers)))
    return (await client.response())[0]


NO_ADDRESS = [
    *("", " ", "\t", ",", " , ,", "unknown", "_hidden", '"203.0.113.9"', "for=203.0.113.9"),
    *("203.0.113.9.1", "203.0.113.09", "203.0.113.0/24", "2001:db8::g", "[unknown]:443", ":443"),
]


@pytest.mark.parametrize("trusted", [(), (ip_network("127.0.0.0/8"),)], ids=["any", "networks"])
async def test_without_an_address_the_bucket_is_that_of_the_peer(
    trusted: tuple[IPv4Network, ...],
) -> None:
    limits = {"upgrade_burst": 2 * len(NO_ADDRESS), "upgrade_refill": 1e6}
    async with running_relay(trusted_proxies=trusted, limits=limits) as relay:
        for value in NO_ADDRESS:
            one_line = {"X-Forwarded-For": value}
            assert await status_of(relay, **one_line) == 101, value
            assert await status_of(relay, **one_line, **{"x-forwarded-for": value}) == 101, value
        assert await status_of(relay) == 429  # each of them took a token of this bucket
        (line,) = relay.log_of("rate_limited")
        assert " remote=127.0.0.1 " in line


@pytest.mark.parametrize(
    ("first", "second", "client"),
    [
        ("", "203.0.113.9", "127.0.0.1"),
        (" ", "203.0.113.9", "127.0.0.1"),
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "unknown", "203.0.113.9"),
        ("[2001:db8::9]", "203.0.113.9", "2001:db8::9"),
    ],
)
async def test_the_first_of_two_lines_has_the_left_most_entry(
    first: str, second: str, client: str
) -> None:
    async with running_relay(trusted_proxies=()) as relay:
        headers = {"X-Forwarded-For": first, "x-forwarded-for": second}
        assert await status_of(relay, **headers) == 101
        await relay.until(lambda: relay.log_of("phone_register_no_server"))
        (line,) = relay.log_of("phone_register_no_server")
        assert f" remote={client}\n" in line
