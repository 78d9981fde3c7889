"""Says which flag is at fault when a listener cannot be bound, and what to do about it."""

import errno
from typing import Final

from fastrelay.config.errors import ConfigurationError
from fastrelay.config.settings import Settings
from fastrelay.net.bound_sockets import BindFailed

_FLAGS: Final = {"metrics": "--metrics-listen", "challenges": "--http-listen"}

_LOW_PORTS: Final = (
    "bind low ports as root, with CAP_NET_BIND_SERVICE (AmbientCapabilities= in a unit, --cap-add"
    " in a container), or with net.ipv4.ip_unprivileged_port_start; or name a port above 1023"
)
_NOT_OURS: Final = "name an address of this machine, or :PORT for all of them"


def refusal_of(failure: BindFailed, settings: Settings) -> ConfigurationError:
    """The refusal that tells a user of ``failure``."""
    public = "--insecure-listen" if settings.tls is None else "--https-listen"
    flag = _FLAGS.get(failure.use, public)
    error = failure.__cause__
    why = str(error)
    if isinstance(error, OSError) and error.strerror:
        # socket.create_server() adds the address to the system's words.
        why = error.strerror.partition(" (while attempting")[0]
    what = f"{flag} {failure.address}: cannot listen: {why}"
    return ConfigurationError(what, _fix(flag, failure, error))


def _fix(flag: str, failure: BindFailed, error: BaseException | None) -> str:
    number = (error.errno if isinstance(error, OSError) else None) or 0
    if number < 0:  # of getaddrinfo(3); socket.create_server() raises a plain OSError for it
        return f"{failure.address.host!r} does not resolve here: name an IP address, or :PORT"
    if number in (errno.EACCES, errno.EPERM) and failure.address.port < 1024:
        return _LOW_PORTS
    if number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return _NOT_OURS
    if number != errno.EADDRINUSE:
        return f"name another address with {flag}"
    if failure.use == "metrics":
        return (
            f"another program has port {failure.address.port}, perhaps Prometheus itself, whose"
            " own port is 9090: give --metrics-listen 127.0.0.1:9091 and scrape that, or"
            " --metrics-listen= for no metrics"
        )
    return (
        f"another program has port {failure.address.port} (ss -ltnp shows which): stop it, or name"
        f" another port with {flag}"
    )
