"""Says which flag is at fault when a listener cannot be bound, and what to do about it."""

import errno
from typing import Final

from fastrelay.config.errors import ConfigurationError
from fastrelay.config.settings import Acme, Address, Settings
from fastrelay.net.bound_sockets import BindFailed

_PROMETHEUS: Final = 9090
"""The default port of Prometheus, which is also that of the relay's metrics."""
_EVERY_ADDRESS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  # nothing is bound to them

_LOW_PORTS: Final = (
    "bind low ports as root, with CAP_NET_BIND_SERVICE (AmbientCapabilities= in a unit, --cap-add"
    " in a container), or with net.ipv4.ip_unprivileged_port_start; or name a port above 1023"
)
_NOT_OURS: Final = "name an address of this machine, or :PORT for all of them"


def refusal_of(failure: BindFailed, settings: Settings) -> ConfigurationError:
    """The refusal that tells a user of ``failure``."""
    listeners = _listeners(settings)
    flag = listeners[failure.use][0]
    error = failure.__cause__
    why = str(error)
    if isinstance(error, OSError) and error.strerror:
        # socket.create_server() adds the address to the system's words.
        why = error.strerror.partition(" (while attempting")[0]
    what = f"{flag} {failure.address}: cannot listen: {why}"
    others = [listeners[use] for use in listeners if use != failure.use]
    return ConfigurationError(what, _fix(flag, failure, error, others))


def _listeners(settings: Settings) -> dict[str, tuple[str, Address]]:
    """The flag and the address of each listener, by the field of ``BoundSockets``."""
    public = "--insecure-listen" if settings.tls is None else "--https-listen"
    found = {"public": (public, settings.listen)}
    if settings.metrics_listen is not None:
        found["metrics"] = ("--metrics-listen", settings.metrics_listen)
    if isinstance(settings.tls, Acme):
        found["challenges"] = ("--http-listen", settings.tls.http_listen)
    return found


def _fix(
    flag: str,
    failure: BindFailed,
    error: BaseException | None,
    others: list[tuple[str, Address]],
) -> str:
    number = (error.errno if isinstance(error, OSError) else None) or 0
    if number < 0:  # of getaddrinfo(3); socket.create_server() raises a plain OSError for it
        return f"{failure.address.host!r} does not resolve here: name an IP address, or :PORT"
    if number in (errno.EACCES, errno.EPERM) and failure.address.port < 1024:
        return _LOW_PORTS
    if number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return _NOT_OURS
    if number != errno.EADDRINUSE:
        return f"name another address with {flag}"
    port = failure.address.port
    for other, address in others:
        if _overlap(address, failure.address):
            return f"{other} names port {port} too: name another port with one of them"
    if failure.use == "metrics" and port == _PROMETHEUS:
        return (
            f"another program has port {port}, perhaps Prometheus, whose own port that is: give"
            " --metrics-listen 127.0.0.1:9091 and scrape that, or --metrics-listen= for no metrics"
        )
    return (
        f"another program has port {port} (ss -ltnp shows which): stop it, or name"
        f" another port with {flag}"
    )


def _overlap(one: Address, other: Address) -> bool:
    same_host = one.host == other.host or not _EVERY_ADDRESS.isdisjoint({one.host, other.host})
    return one.port == other.port and same_host
