"""Addresses as keys, and who a request's client is, alone; over sockets: test_client_address.py."""

import ipaddress

import h11
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fastrelay.address import bucket_key, is_local, nested_keys, plain_host
from fastrelay.http import client_address
from fastrelay.http.client_address import MOST_ENTRIES, forwarded_for, socket_peer


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_an_ipv6_key_is_its_64_and_nothing_else(address: ipaddress.IPv6Address, host: int) -> None:
    translated = ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")  # have another key
    assume(not any(address in ipaddress.ip_network(network) for network in translated))
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
        (("",), PEER),
        ((", 203.0.113.9",), PEER),
        (("unknown, 203.0.113.9",), PEER),
        (("203.0.113.9.1",), PEER),
        (("203.0.113.09",), PEER),
        (("1",), PEER),
        ((":" * 5000,), PEER),
    ],
)
def test_the_left_most_entry_from_anybody(lines: tuple[str, ...], client: str) -> None:
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
        ("10.0.0.1", ("203.0.113.9, rubbish",), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.9, 10.0.0.2,",), "10.0.0.1"),
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        ("10.0.0.1", ("203.0.113.9, ::ffff:10.0.0.2",), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, ::ffff:a00:2",), "203.0.113.9"),
    ],
)
def test_the_first_entry_that_is_not_trusted(
    peer: str, lines: tuple[str, ...], client: str
) -> None:
    assert forwarded_for(INSIDE)(peer, asked(*lines)) == client


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=12).map(str.strip), max_size=3))
def test_whatever_the_header_says_the_answer_has_a_key(lines: list[str]) -> None:
    try:
        request = asked(*lines)
    except (h11.LocalProtocolError, UnicodeEncodeError):
        return  # such a head is never read
    for resolve in (forwarded_for(()), forwarded_for(INSIDE)):
        assert bucket_key(resolve("10.0.0.1", request))


def test_sixteen_entries_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def note(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        parsed.append(text)
        return ipaddress.ip_address(text)

    fake = type("Ipaddress", (), {"ip_address": staticmethod(note)})
    monkeypatch.setattr(client_address, "ipaddress", fake)
    resolve = forwarded_for(INSIDE)
    inside = [f"10.0.0.{number}" for number in range(200)]
    assert resolve("10.9.9.9", asked(", ".join(["203.0.113.9", *inside]))) == "10.0.0.184"
    assert parsed == ["10.9.9.9", *reversed(inside[-MOST_ENTRIES:])]
    near = ["203.0.113.9", *inside[: MOST_ENTRIES - 1]]
    assert resolve("10.9.9.9", asked(", ".join(near))) == "203.0.113.9"
    parsed.clear()
    assert forwarded_for(())(PEER, asked(",".join(near))) == "203.0.113.9"
    assert parsed == ["203.0.113.9"]


@given(st.ip_addresses(v=6))
def test_the_networks_around_an_ipv6_address(address: ipaddress.IPv6Address) -> None:
    for level, size in enumerate((64, 56, 48)):
        near = ipaddress.IPv6Address(int(address) ^ 1 << 127 - size)
        far = ipaddress.IPv6Address(int(address) ^ 1 << 128 - size)
        keys = [nested_keys(str(one)) for one in (address, near, far)]
        if len(keys[0]) == len(keys[1]) == len(keys[2]) == 3:
            assert keys[0][level] == keys[1][level] != keys[2][level]


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("64:ff9b::203.0.113.9", "203.0.113.9"),
        ("64:ff9b::", "0.0.0.0"),
        ("64:ff9b:0:0:1::", "64ff9b00000000/64"),
        # The forms of RFC 6052 §2.4, for prefixes of 48, 56, 64 and 96 bits.
        ("64:ff9b:1:c000:2:2100::", "192.0.2.33"),
        ("64:ff9b:1:1c0:0:221::", "192.0.2.33"),
        ("64:ff9b:1:122:c0:2:2100::", "192.0.2.33"),
        ("64:ff9b:1:122:0:0:192.0.2.33", "192.0.2.33"),
        ("64:ff9b:1:fffe::203.0.113.9", "203.0.113.9"),
        ("64:ff9b:1:1:100::1", "64ff9b00010001/64"),
        ("64:ff9b:2::203.0.113.9", "64ff9b00020000/64"),
        ("::ffff:0:203.0.113.9", "203.0.113.9"),
        ("::ffff:1:203.0.113.9", "0/64"),
    ],
)
def test_an_address_behind_nat64_has_the_key_of_its_ipv4_address(host: str, key: str) -> None:
    assert bucket_key(plain_host(host)) == key


LOCAL = [
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
    *("::1/128", "fc00::/7", "fe80::/10"),
]


@given(
    st.one_of(
        st.ip_addresses(),
        *(st.ip_addresses(network=network) for network in LOCAL),
        st.ip_addresses(network="172.0.0.0/8"),
        st.ip_addresses(network="fd::/16"),
    )
)
def test_local_addresses(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    plain = ipaddress.ip_address(plain_host(str(address)))
    networks = [ipaddress.ip_network(network) for network in LOCAL]
    assert is_local(str(plain)) == any(plain in network for network in networks)
