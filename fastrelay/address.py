"""Client addresses: as text for logs, and as keys for limits."""

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

_TRANSLATED: Final = frozenset(
    int(IPv6Address(prefix)) >> 32 for prefix in ("64:ff9b::", "::ffff:0:0:0")
)
"""The first 96 bits of an IPv4 address behind a translator: NAT64 (RFC 6052 §2.1), SIIT (RFC 2765
§2.1)."""

_TRANSLATED_LOCALLY: Final = int(IPv6Address("64:ff9b:1::")) >> 80
"""The first 48 bits of one behind a translator with a prefix of its own network (RFC 8215)."""

_LOCAL_IPV4: Final = (
    *("127.", "10.", "192.168.", "169.254."),
    *(f"172.{second}." for second in range(16, 32)),
)
_LOCAL_IPV6: Final = re.compile(r"::1$|f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:")


def plain_host(host: str) -> str:
    """``host`` without its zone; an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) as IPv4.

    Raises:
        ValueError: ``host`` is no IP address.
    """
    return plain(ipaddress.ip_address(host.partition("%")[0]))


def plain(address: IPv4Address | IPv6Address) -> str:
    """The text of ``address``; an IPv4-mapped IPv6 address is written as IPv4."""
    return str(getattr(address, "ipv4_mapped", None) or address)


def bucket_key(host: str) -> str:
    """The key under which limits count an address: the IPv4 address, or the /64 of an IPv6 address.

    One subscriber usually gets a whole /64 and could use a new address for every connection, so a
    limit per single address would have no effect.

    Args:
        host: an address as :func:`plain_host` returns it.
    """
    return host if ":" not in host else nested_keys(host)[0]


def nested_keys(host: str) -> tuple[str, ...]:
    """The key of :func:`bucket_key`, and then the keys of the networks that contain the address.

    Providers assign a /64, a /56 or a /48, and the relay cannot tell which. An address behind NAT64
    or SIIT is counted as the IPv4 address that it stands for.

    Args:
        host: an address as :func:`plain_host` returns it.
    """
    if ":" not in host:
        return (host,)
    number = int(IPv6Address(host))
    embedded = _embedded_ipv4(number)
    if embedded is not None:
        return (str(IPv4Address(embedded)),)
    return f"{number >> 64:x}/64", f"{number >> 72:x}/56", f"{number >> 80:x}/48"


def _embedded_ipv4(number: int) -> int | None:
    """The IPv4 address that a translator has put into an IPv6 address, if one has.

    In the network for local use the length of the translator's prefix is not known: 96, 64, 56 or
    48 bits. What is behind the IPv4 address is 0 (RFC 6052 §2.2), so the last byte that is not 0
    tells; an IPv4 address that ends in 0 itself, which few hosts have, may get another key.
    """
    if number >> 32 in _TRANSLATED:
        return number & 0xFFFF_FFFF
    if number >> 80 != _TRANSLATED_LOCALLY or number >> 56 & 0xFF:
        return None
    if number & 0xFF_FFFF:
        return number & 0xFFFF_FFFF
    if number >> 24 & 0xFF:
        return number >> 24 & 0xFFFF_FFFF
    # The bits 64 to 71 are 0 and in the middle of the IPv4 address.
    if number >> 32 & 0xFF:
        return (number >> 64 & 0xFF) << 24 | number >> 32 & 0xFF_FFFF
    return (number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF


def is_local(host: str) -> bool:
    """Whether an address is a loopback, private (RFC 1918, RFC 4193) or link-local one.

    Args:
        host: an address as :func:`plain_host` returns it. This is on the path of each upgrade, so
            the text is looked at instead of being parsed.
    """
    if ":" in host:
        return _LOCAL_IPV6.match(host) is not None
    return host.startswith(_LOCAL_IPV4)
