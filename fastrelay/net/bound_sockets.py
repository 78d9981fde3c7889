"""Binds the listening sockets of a relay before the code that serves on them runs."""

import itertools
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
    family, dual = _family(address)
    sock = socket.create_server(
        (address.host, address.port), family=family, backlog=BACKLOG, dualstack_ipv6=dual
    )
    try:
        _check_port(sock, address)
    except OSError:
        sock.close()
        raise
    return sock


def bind_group(address: Address, count: int) -> list[socket.socket]:
    """Listening sockets on one address, over which the kernel spreads connections (socket(7)).

    The first socket is bound without ``SO_REUSEPORT``, and gets this option before it listens.
    Binding therefore fails if another relay uses the address, and a second relay cannot bind it.

    Raises:
        OSError: as in :func:`bind`; no socket is left open.
    """
    if count == 1:
        return [bind(address)]
    family, dual = _family(address)
    bound: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = socket.socket(family)
            bound.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
            if len(bound) > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            _bind(sock, address.host, bound[0].getsockname()[1] or address.port)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _check_port(bound[0], address)
        for sock in bound:
            sock.listen(BACKLOG)
    except OSError:
        for sock in bound:
            sock.close()
        raise
    return bound


def _family(address: Address) -> tuple[socket.AddressFamily, bool]:
    """The family of a socket for an address, and whether it is for IPv4 and IPv6."""
    dual = not address.host and socket.has_dualstack_ipv6()
    return socket.AF_INET6 if dual or ":" in address.host else socket.AF_INET, dual


def _check_port(sock: socket.socket, address: Address) -> None:
    port = sock.getsockname()[1]
    if address.port and port != address.port:
        raise OSError(f"asked for port {address.port} and got {port}")


def _bind(sock: socket.socket, host: str, port: int) -> None:
    try:
        sock.bind((host, port))
    except OSError as error:
        what = f"{error.strerror} (while attempting to bind on address {(host, port)!r})"
        raise OSError(error.errno, what) from None


class BindFailed(OSError):
    """An address of the settings cannot be bound. ``__cause__`` has the reason.

    Attributes:
        use: the field of :class:`BoundSockets` that the socket was for.
        address: the address.
    """

    def __init__(self, use: str, address: Address) -> None:
        super().__init__(f"cannot listen on {address}")
        self.use, self.address = use, address


class BoundSockets(NamedTuple):
    """The listening sockets of one relay.

    Attributes:
        public: the socket for binaries and phones; ``None``: another process has it.
        metrics: the socket for ``/metrics``; ``None``: it is not served.
        challenges: the socket for the CA's challenges; ``None``: they are not served.
    """

    public: socket.socket | None = None
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
        BindFailed: an address cannot be bound; no socket is left open.
    """
    (public,), others = bind_for_workers(settings, 1)
    return others._replace(public=public)


def bind_for_workers(settings: Settings, workers: int) -> tuple[list[socket.socket], BoundSockets]:
    """Bind every address that the settings name, the public one once for each worker.

    Returns the public sockets, and the others.

    Raises:
        BindFailed: an address cannot be bound; no socket is left open.
    """
    challenges = settings.tls.http_listen if isinstance(settings.tls, Acme) else None
    bound: list[list[socket.socket]] = []
    try:
        bound.append(_bind_for("public", settings.listen, workers))
        for use, address in (("metrics", settings.metrics_listen), ("challenges", challenges)):
            bound.append([] if address is None else _bind_for(use, address, 1))
    except BindFailed:
        for sock in itertools.chain.from_iterable(bound):
            sock.close()
        raise
    public, *others = bound
    return public, BoundSockets(None, *(group[0] if group else None for group in others))


def _bind_for(use: str, address: Address, count: int) -> list[socket.socket]:
    try:
        return bind_group(address, count)
    except OSError as error:
        raise BindFailed(use, address) from error
    except UnicodeError as error:  # IDNA: a label is empty or too long
        raise BindFailed(use, address) from OSError(str(error))
