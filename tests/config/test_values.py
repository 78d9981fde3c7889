"""Single values: which texts are understood, and how the others are refused."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest

from fastrelay.config import values
from fastrelay.config.settings import GIB, KIB, MIB, Address
from fastrelay.config.values import BadValue

NO_NUMBERS = [
    *("", " ", "-1", "+1", "1 ", " 1", "1_0", "0x10", "1e3", "1e309", "inf", "-inf", "nan", "NaN"),
    *(
        "Infinity",
        "٣",
        "１",
        "²",
        "1,5",
        "true",
        "None",
        "9" * 31,
        "9" * 5000,
        "1\n",
        "\0",
        "\udcff",
    ),
]
"""What no flag takes as a number, though Python would take much of it."""


def refused(parse: Callable[[str], Any], text: str) -> BadValue:
    with pytest.raises(BadValue) as refusal:
        parse(text)
    assert refusal.value.what
    assert refusal.value.fix
    assert len(refusal.value.what) < 400
    assert len(refusal.value.what.splitlines()) == 1
    return refusal.value


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("parse", [values.number(int, 0), values.number(float, 0), values.size(0)])
def test_no_numbers(parse: Callable[[str], Any], text: str) -> None:
    refused(parse, text)


@pytest.mark.parametrize("text", ["1.5", "1.", ".5", "1.0"])
def test_no_whole_numbers(text: str) -> None:
    refused(values.number(int, 0), text)
    refused(values.size(0), text)


def test_numbers() -> None:
    assert values.number(int, 1, 16)("16") == 16
    assert values.number(int, 0)("007") == 7
    assert values.number(float, 0)("0.25") == 0.25
    assert values.number(float, 0)("0") == 0.0
    assert "from 1 to 16" in refused(values.number(int, 1, 16), "17").what
    assert "from 0.001 to 60" in refused(values.number(float, 0.001, 60), "0").what


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("262144", 256 * KIB),
        ("256KiB", 256 * KIB),
        ("256 KiB", 256 * KIB),
        ("1MiB", MIB),
        ("1024GiB", 1024 * GIB),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert values.size(0)(text) == size
    assert values.size(0)(values.in_units(size)) == size


@pytest.mark.parametrize(
    "text",
    [
        *("KiB", "1kib", "1KB", "1K", "1M", "1TiB", "1 B", "1  KiB", "1.5MiB", "-1KiB", "0x1KiB"),
        *("1025GiB", "1KiB ", "1KiBKiB", "٣KiB", "1e3KiB", "infMiB", "9" * 4301 + "KiB"),
    ],
)
def test_no_sizes(text: str) -> None:
    assert "KiB" in refused(values.size(0), text).fix


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "True", "TRUE"])
def test_on(text: str) -> None:
    assert values.switch(text) is True
    assert values.trust(text) == ()


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "False", "FALSE"])
def test_off(text: str) -> None:
    assert values.switch(text) is False
    assert values.trust(text) is None


@pytest.mark.parametrize("text", ["", "yes", "on", "tRUE", " true", "2", "true,false"])
def test_neither(text: str) -> None:
    refused(values.switch, text)
    refused(values.trust, text)


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080), "127.0.0.1:8080"),
        ("relay.example:1", Address("relay.example", 1), "relay.example:1"),
        (":65535", Address("", 65535), ":65535"),
        ("[::1]:80", Address("::1", 80), "[::1]:80"),
    ],
)
def test_addresses(text: str, address: Address, shown: str) -> None:
    assert values.address(text) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "host", "host:", "host:80a", "host:-1", "host:+1", "host:1_0", "host: 1"),
        *("host:٣", "höst:80", "::1:80", "[::1]", "[::1:80", "::1]:80", "[]:80", "[host]:80"),
        *("host:0", "host:65536", "host:" + "9" * 5000),
    ],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(values.BadValue) as refusal:
        values.address(text)
    assert refusal.value.fix


def test_metrics_addresses() -> None:
    assert values.metrics_address("") is None
    assert values.metrics_address("[::1]:9090") == Address("::1", 9090)
    assert values.metrics_address("127.8.9.1:1") == Address("127.8.9.1", 1)


def test_networks() -> None:
    given = values.networks("10.0.0.0/8, 192.0.2.7,fd00::/8")
    assert given == tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7/32", "fd00::/8")))


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("::ffff:127.0.0.0/104", "127.0.0.0/8"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("::ffff:0:0/95", "::ffff:0:0/95"),
    ],
)
def test_an_ipv4_mapped_network_is_the_ipv4_network(text: str, network: str) -> None:
    if text == "::ffff:0:0/95":
        refused(values.networks, text)
    else:
        assert values.networks(text) == (ip_network(network),)


@pytest.mark.parametrize("text", ["", ",", "10.0.0.0/8,", "10.0.0.1/8", "10.0.0.0/33", "x" * 9999])
def test_no_networks(text: str) -> None:
    refused(values.networks, text)
    refused(values.trust, text)


@pytest.mark.parametrize("text", ["a@b", "ops+relay@example.org"])
def test_emails(text: str) -> None:
    assert values.email(text) == text


@pytest.mark.parametrize("text", ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\n", "ä@b", "a\0@b"])
def test_no_emails(text: str) -> None:
    refused(values.email, text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "http://a", "https://", "https://a:0", "https://a:x", "https://a b", "https://ä"),
        *("https://user:pass@a", "https://user@a", "https://a?pass", "https://a#pass", "pass"),
    ],
)
def test_no_urls(text: str) -> None:
    bad = refused(values.https_url, text)
    assert "pass" not in bad.what + bad.fix


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_no_file_names(text: str) -> None:
    refused(values.file_name, text)
    refused(values.directory, text)
