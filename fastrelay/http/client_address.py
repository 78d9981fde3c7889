"""Whose request is it: the socket's peer, or who a trusted proxy says it is."""

import ipaddress
from collections.abc import Callable, Sequence

import h11

from fastrelay.address import plain_host
from fastrelay.config.settings import Network

Resolver = Callable[[str, h11.Request], str | None]
"""From the peer's address and its request to the client's address; ``None``: not usable."""


def socket_peer(peer: str, request: h11.Request) -> str | None:
    """The client is the peer: no proxy is believed."""
    return peer


def forwarded_for(trusted: Sequence[Network]) -> Resolver:
    """Believe ``X-Forwarded-For``.

    With no networks: its left-most entry, from any peer. With networks: the first address, from
    the peer leftwards through the header, that is in none of them; so a peer outside them is
    itself the client, whatever it claims. A header that is not there leaves the peer; one whose
    deciding entry is no address leaves no usable client.
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
    """An entry as a plain address; some proxies add a port, or brackets around IPv6."""
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
