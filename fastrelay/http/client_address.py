"""The address of a client: the peer of the socket, or the address that a trusted proxy gives."""

import ipaddress
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import h11

from fastrelay.config.settings import Network

MOST_ENTRIES: Final = 16
"""Entries of the header that are looked at, from the right: this is done for every request, before
its client's address can be limited, and a head has room for thousands of them."""

_LONGEST_ENTRY: Final = 100
"""Bytes of an entry that may be an address: the longest one with brackets, zone and port has 70."""

Resolver = Callable[[str, h11.Request], str]
"""From the peer's address and its request to the client's address."""


def socket_peer(peer: str, request: h11.Request) -> str:
    """The peer's address: no proxy is trusted."""
    return peer


def forwarded_for(trusted: Sequence[Network]) -> Resolver:
    """A resolver that believes ``X-Forwarded-For``.

    Without networks, every peer is believed, and the client is the left-most entry. With networks,
    the client is the first address that is in none of them, beginning with the peer and going
    through the header from right to left. A peer outside the networks is therefore itself the
    client, whatever its header says. If there is no header, or if the entry that decides is not an
    address, the client is the peer.
    """

    def left_most(peer: str, request: h11.Request) -> str:
        client = _address(_header(request).partition(b",")[0])
        return peer if client is None else str(client)

    def past_trusted(peer: str, request: h11.Request) -> str:
        address = ipaddress.ip_address(peer)
        if not _within(address, trusted):
            return peer
        client = peer
        # What is left of the last entry that counts stays in one piece, and is not looked at.
        for entry in reversed(_header(request).rsplit(b",", MOST_ENTRIES)[-MOST_ENTRIES:]):
            parsed = _address(entry)
            if parsed is None:
                return peer
            client = str(parsed)
            if not _within(parsed, trusted):
                break
        return client

    return past_trusted if trusted else left_most


def _header(request: h11.Request) -> bytes:
    """All lines of the header as one."""
    return b",".join(value for name, value in request.headers if name == b"x-forwarded-for")


def _address(raw: bytes) -> IPv4Address | IPv6Address | None:
    """An entry as an address; some proxies add a port, or brackets around IPv6."""
    if len(raw) > _LONGEST_ENTRY:
        return None
    entry = raw.decode("latin-1").strip()
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    try:
        address = ipaddress.ip_address(entry.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _within(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
