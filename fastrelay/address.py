"""Addresses of clients: as text for logs, as a key for limits."""

import ipaddress


def plain_host(host: str) -> str:
    """``host`` without a zone, and IPv4 that came mapped into IPv6 as IPv4."""
    host = host.partition("%")[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def bucket_key(host: str) -> str:
    """What limits count by: an IPv4 address, or the /64 of an IPv6 address.

    A /64 is what one subscriber is given; counting single addresses would limit nobody.
    """
    if ":" not in host:
        return host
    network = int(ipaddress.IPv6Address(host)) >> 64
    return f"{network:x}/64"
