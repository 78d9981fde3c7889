"""Decides to which clients the caps of one address apply."""

from collections.abc import Callable

from fastrelay.address import is_local
from fastrelay.config.settings import Settings
from fastrelay.http.exchange import Exchange


def caps_local_peers(settings: Settings) -> bool:
    """Whether the caps also apply to peers on loopback and private addresses.

    They do if a cap is given, or if PROXY headers tell the addresses of clients. Otherwise such a
    peer may be a proxy that the relay does not know of, and all of its clients would share its
    address. The caps always apply to an address that a trusted header names.
    """
    return bool(settings.limits.connections_per_ip) or settings.proxy_headers is not None


def address_cap(settings: Settings) -> str:
    """The cap of one address, and for whom there is none, in the words of the line ``starting``."""
    cap = settings.limits.connections_per_address
    if not cap:
        return "none"
    return str(cap) if caps_local_peers(settings) else f"{cap}, loopback and private peers: none"


def capped_requests(settings: Settings) -> Callable[[Exchange], bool]:
    """The function that tells whether they hold for the client of a request."""

    def is_capped(exchange: Exchange) -> bool:
        return exchange.client != exchange.peer or not is_local(exchange.client)

    return (lambda exchange: True) if caps_local_peers(settings) else is_capped
