"""For which hosts a listener answers; requests for any other get 421."""

import ipaddress
from collections.abc import Callable
from typing import Final

from fastrelay.address import is_local
from fastrelay.http.exchange import Exchange
from fastrelay.server import healthz

_LOOPBACK_NAMES: Final = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})


def only_domain(domain: str) -> Callable[[Exchange], bool]:
    """The host is ``domain``.

    Health checks of loopback and private addresses may name any: balancers check by address.
    """
    name = domain.encode()

    def is_domain(exchange: Exchange) -> bool:
        if exchange.host == name:
            return True
        return exchange.path == healthz.PATH and is_local(exchange.client)

    return is_domain


def no_foreign_name(exchange: Exchange) -> bool:
    """The host is a loopback name or an IP address, or there is none.

    A web page can let a name of its own mean a loopback address, and then read what is served
    there by that name (DNS rebinding). It cannot do so by an address, and its browser always sends
    a Host.
    """
    if not exchange.host:
        return not exchange.header(b"host")
    host = exchange.host.decode("ascii")
    if host in _LOOPBACK_NAMES or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host[1:-1] if host.startswith("[") else host)
    except ValueError:
        return False
    return True
