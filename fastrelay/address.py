"""Addresses of clients: as text for logs, as a key for limits."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address


def plain_host(host: str) -> str:
    """``host`` without a zone, and IPv4 that came mapped into IPv6 as IPv4.

    Raises:
        ValueError: it is no IP address.
    """
    return plain(ipaddress.ip_address(host.partition("%")[0]))


def plain(address: IPv4Address | IPv6Address) -> str:
    """The text of ``address``; IPv4 mapped into IPv6, however it is written, is IPv4."""
    return str(getattr(address, "ipv4_mapped", None) or address)


def bucket_key(host: str) -> str:
    """What limits count by: an IPv4 address, or the /64 of an IPv6 address.

    A /64 is what one subscriber is given; counting single addresses would limit nobody.
    """
    if ":" not in host:
        return host
    network = int(ipaddress.IPv6Address(host)) >> 64
    return f"{network:x}/64"
