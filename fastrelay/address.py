"""Client addresses: as text for logs, and as keys for limits."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address


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
    if ":" not in host:
        return host
    network = int(ipaddress.IPv6Address(host)) >> 64
    return f"{network:x}/64"
