"""The address of a client: the peer of the socket, or the address that a trusted proxy gives."""

import ipaddress
from collections.abc import Callable, Sequence

import h11

from fastrelay.address import plain_host
from fastrelay.config.settings import Network

Resolver = Callable[[str, h11.Request], str | None]
"""Returns the client's address for a peer's address and request; ``None``: there is none usable."""


def socket_peer(peer: str, request: h11.Request) -> str | None:
    """The client is the peer: no proxy is believed."""
    return peer


def forwarded_for(trusted: Sequence[Network]) -> Resolver:
    """A resolver that believes ``X-Forwarded-For``.

    With no networks, the client is the left-most entry, from any peer. With networks, it is the
    first address outside of them, from the peer leftwards through the header; so a peer outside of
    them is the client, whatever its header says. Without the header, the client is the peer. If
    the entry that decides is no address, there is no usable client.
    """

    def left_most(peer: str, request: h11.Request) -> str | None:
        entries = _entries(request)
        return _address(entries[0]) if entries else peer

    def past_trusted(peer: str, request: h11.Request) -> str | None:
        client: str | None = peer
        for entry in reversed([*_entries(request), peer]):
            client = _address(entry)
            if client is None or not _within(client, trusted):
                break
        return client

    return past_trusted if trusted else left_most


def _entries(request: h11.Request) -> list[str]:
    values = [value for name, value in request.headers if name == b"x-forwarded-for"]
    joined = b",".join(values).decode("latin-1")
    return [entry.strip() for entry in joined.split(",")] if values else []


def _address(entry: str) -> str | None:
    """The address in an entry. Some proxies add a port, or brackets around IPv6."""
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    try:
        return plain_host(entry)
    except ValueError:
        return None


def _within(host: str, networks: Sequence[Network]) -> bool:
    address = ipaddress.ip_address(host)
    return any(address in network for network in networks)
