"""Binds the listening sockets of a relay before the code that serves on them runs."""

import socket
from typing import Final, NamedTuple

from fastrelay.config.settings import Acme, Address, Settings

BACKLOG: Final = 4096
"""The most connections that the kernel queues until they are accepted, as after a restart."""


def bind(address: Address) -> socket.socket:
    """A listening socket on ``address``; an empty host means all interfaces, IPv6 and IPv4.

    Raises:
        OSError: the address cannot be bound, or the system gave another port than requested.
    """
    dual = not address.host and socket.has_dualstack_ipv6()
    sock = socket.create_server(
        (address.host, address.port),
        family=socket.AF_INET6 if dual or ":" in address.host else socket.AF_INET,
        backlog=BACKLOG,
        dualstack_ipv6=dual,
    )
    port = sock.getsockname()[1]
    if address.port and port != address.port:
        sock.close()
        raise OSError(f"asked for port {address.port} and got {port}")
    return sock


class BoundSockets(NamedTuple):
    """The listening sockets of one relay.

    Attributes:
        metrics: the socket for ``/metrics``; ``None``: it is not served.
        challenges: the socket for the CA's challenges; ``None``: they are not served.
    """

    public: socket.socket
    metrics: socket.socket | None = None
    challenges: socket.socket | None = None

    def close(self) -> None:
        """Close all of them."""
        for sock in self:
            if sock is not None:
                sock.close()


def bind_all(settings: Settings) -> BoundSockets:
    """Bind every address that the settings name.

    Raises:
        OSError: an address cannot be bound; no socket is left open.
    """
    addresses = [settings.listen, settings.metrics_listen]
    if isinstance(settings.tls, Acme):
        addresses.append(settings.tls.http_listen)
    bound: list[socket.socket | None] = []
    try:
        for address in addresses:
            bound.append(None if address is None else bind(address))
    except OSError:
        for sock in bound:
            if sock is not None:
                sock.close()
        raise
    public, *others = bound
    assert public is not None
    return BoundSockets(public, *others)
