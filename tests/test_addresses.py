"""Addresses as keys, and who a request's client is, alone; over sockets: test_client_address.py."""

import ipaddress

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.address import bucket_key, plain_host
from fastrelay.http.client_address import forwarded_for, socket_peer


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_an_ipv6_key_is_its_64_and_nothing_else(address: ipaddress.IPv6Address, host: int) -> None:
    sibling = ipaddress.IPv6Address(int(address) >> 64 << 64 | host)
    assert bucket_key(str(address)) == bucket_key(str(sibling))
    stranger = ipaddress.IPv6Address(int(address) ^ 1 << 64)
    assert bucket_key(str(address)) != bucket_key(str(stranger))


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_an_ipv4_key_is_the_address(
    one: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    assert (bucket_key(str(one)) == bucket_key(str(other))) == (one == other)


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:db8::ffff:1", "2001:db8::ffff:1"),
    ],
)
def test_plain_hosts(host: str, plain: str) -> None:
    assert plain_host(host) == plain
    assert bucket_key(plain_host(host))


def asked(*values: str) -> h11.Request:
    """A request with these ``X-Forwarded-For`` lines."""
    headers = [("Host", "r"), *(("X-Forwarded-For", value) for value in values)]
    return h11.Request(method="GET", target="/", headers=headers)


PEER = "198.51.100.7"
INSIDE = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


def test_by_default_nobody_is_believed() -> None:
    assert socket_peer(PEER, asked("203.0.113.9")) == PEER


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ((), PEER),
        (("203.0.113.9",), "203.0.113.9"),
        (("203.0.113.9 , 10.0.0.1",), "203.0.113.9"),
        (("203.0.113.9", "10.0.0.1"), "203.0.113.9"),
        (("203.0.113.9:4711",), "203.0.113.9"),
        (("[2001:db8::9]:4711",), "2001:db8::9"),
        (("[2001:db8::9]",), "2001:db8::9"),
        (("2001:DB8:0::9",), "2001:db8::9"),
        (("fe80::9%eth0",), "fe80::9"),
        (("::ffff:203.0.113.9",), "203.0.113.9"),
        (("::ffff:cb00:7109",), "203.0.113.9"),
        (("",), None),
        ((", 203.0.113.9",), None),
        (("unknown, 203.0.113.9",), None),
        (("203.0.113.9.1",), None),
        (("203.0.113.09",), None),
        (("1",), None),
    ],
)
def test_the_left_most_entry_from_anybody(lines: tuple[str, ...], client: str | None) -> None:
    assert forwarded_for(())(PEER, asked(*lines)) == client


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        (PEER, ("203.0.113.9",), PEER),
        (PEER, ("rubbish",), PEER),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("192.0.2.1, 203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, 10.0.0.2", "fd00::3"), "203.0.113.9"),
        ("10.0.0.1", ("rubbish, 203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, rubbish",), None),
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        ("10.0.0.1", ("203.0.113.9, ::ffff:10.0.0.2",), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, ::ffff:a00:2",), "203.0.113.9"),
    ],
)
def test_the_first_entry_that_is_not_trusted(
    peer: str, lines: tuple[str, ...], client: str | None
) -> None:
    assert forwarded_for(INSIDE)(peer, asked(*lines)) == client


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=12).map(str.strip), max_size=3))
def test_whatever_the_header_says_the_answer_has_a_key(lines: list[str]) -> None:
    try:
        request = asked(*lines)
    except (h11.LocalProtocolError, UnicodeEncodeError):
        return  # such a head is never read
    for resolve in (forwarded_for(()), forwarded_for(INSIDE)):
        client = resolve("10.0.0.1", request)
        assert client is None or bucket_key(client)
