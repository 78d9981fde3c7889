"""Client addresses: as text for logs, and as keys for limits."""

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

_NAT64: Final = int(IPv6Address("64:ff9b::")) >> 32
"""The first 96 bits of an IPv4 address behind a translator (RFC 6052 §2.1)."""

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
    """The key of :func:`bucket_key`, and behind it those of the networks that hold an IPv6 address.

    Providers assign a /64, a /56 or a /48, and the relay cannot tell which. An address behind NAT64
    is counted as the IPv4 address that it stands for.

    Args:
        host: an address as :func:`plain_host` returns it.
    """
    if ":" not in host:
        return (host,)
    number = int(IPv6Address(host))
    if number >> 32 == _NAT64:
        return (str(IPv4Address(number & 0xFFFF_FFFF)),)
    return f"{number >> 64:x}/64", f"{number >> 72:x}/56", f"{number >> 80:x}/48"


def is_local(host: str) -> bool:
    """Whether an address is a loopback, private (RFC 1918, RFC 4193) or link-local one.

    Args:
        host: an address as :func:`plain_host` returns it. This is on the path of each upgrade, so
            the text is looked at instead of being parsed.
    """
    if ":" in host:
        return _LOCAL_IPV6.match(host) is not None
    return host.startswith(_LOCAL_IPV4)
