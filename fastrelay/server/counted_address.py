"""Against which address's cap a connection counts."""

from collections.abc import Callable

from fastrelay.address import is_local
from fastrelay.config.settings import Settings
from fastrelay.http.exchange import Exchange


def counts_local_peers(settings: Settings) -> bool:
    """Whether the cap holds for peers on loopback and private addresses too.

    Only if it was asked for: such a peer may be a proxy that the relay was not told of, and would
    be one address for all of its clients. An address that a trusted proxy names always counts.
    """
    return bool(settings.limits.connections_per_ip) or settings.proxy_headers is not None


def counted_address(settings: Settings) -> Callable[[Exchange], str]:
    """The function that tells the address a request counts against; empty: none's."""

    def client(exchange: Exchange) -> str:
        return exchange.client

    def unless_local_peer(exchange: Exchange) -> str:
        is_peer = exchange.client == exchange.peer
        return "" if is_peer and is_local(exchange.client) else exchange.client

    return client if counts_local_peers(settings) else unless_local_peer
