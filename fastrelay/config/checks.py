"""Checks certificates to trust, descriptors and privileges, before the relay starts."""

import os
import resource
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from fastrelay.config.errors import ConfigurationError

RESERVED_DESCRIPTORS = 64
"""Descriptors reserved for listeners, logs, the event loop, and accepts in progress."""

LEAST_HANDSHAKES = 16
"""The least number of pending connections allowed, however few descriptors there are."""

MOST_CONNECTIONS = 10_000
"""The default cap on live WebSockets of a worker if the descriptor limit allows more."""

DESCRIPTORS_OF_EACH_WORKER = 3
"""A worker has the listening socket of each worker, and two sockets to each other worker."""

_STATUS: Final = Path("/proc/self/status")
_CAP_NET_BIND_SERVICE: Final = 1 << 10


def client_ssl_context(flag: str, file: str | None) -> ssl.SSLContext:
    """The TLS context of a client that trusts the certificates in ``file``, or the system's.

    Args:
        flag: where the file is named: a flag, a variable, or a key of the configuration file.
        file: a PEM file; ``None`` for the certificates of the system.

    Raises:
        ConfigurationError: the file holds no certificates, or its name is empty. An empty name
            must not mean the certificates of the system.
    """
    try:
        if file == "":
            raise FileNotFoundError("no file is named")
        return ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:
        why = "no certificates in it" if isinstance(error, ssl.SSLError) else error
        raise ConfigurationError(
            f"{flag} {file!r}: {why}",
            "name a file of PEM certificates to trust instead of the system's",
        ) from None


class Shares(NamedTuple):
    """The permitted numbers of live WebSockets and of pending connections."""

    connections: int
    handshakes: int


def raise_descriptor_limit() -> int:
    """Raise the soft limit of file descriptors to the hard limit; returns that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def share_of_worker(descriptors: int, workers: int = 1, *, has_tls: bool = False) -> Shares:
    """The connections that one process may have; they never need more than ``descriptors``.

    Therefore accept never fails for lack of descriptors. With several workers a TLS connection
    takes two descriptors in this process, whether this process owns it or splices it for another
    worker: the socket of the peer, and one end of a socket pair.
    """
    reserved = RESERVED_DESCRIPTORS
    if workers > 1:
        reserved += DESCRIPTORS_OF_EACH_WORKER * workers
    usable = descriptors - reserved
    handshakes = max(LEAST_HANDSHAKES, min(1_000, usable // 10))
    return Shares((usable - handshakes) // (2 if has_tls and workers > 1 else 1), handshakes)


def share_descriptors(
    descriptors: int,
    wanted: int | None,
    workers: int = 1,
    *,
    has_tls: bool = False,
    flag: str = "--max-connections",
) -> Shares:
    """The most live WebSockets of the relay, and the most pending connections of each worker.

    Without ``wanted``, a tenth (at most 1,000) is for handshakes and the rest, up to
    :data:`MOST_CONNECTIONS` a worker, for WebSockets.

    Raises:
        ConfigurationError: ``wanted`` WebSockets do not fit, or not a single one does.
    """
    here, handshakes = share_of_worker(descriptors, workers, has_tls=has_tls)
    if here < 1:
        raise ConfigurationError(
            f"this process may open {descriptors} file descriptors, too few for a relay",
            "raise the limit (ulimit -n, LimitNOFILE=), to"
            f" {RESERVED_DESCRIPTORS + LEAST_HANDSHAKES + 1} or more",
        )
    room = here * workers
    if has_tls and workers > 1:
        # Each worker owns one part in N of all, and carries N - 1 parts in N * N for others.
        room = here * workers**2 // (2 * workers - 1)
    if wanted is None:
        wanted = min(MOST_CONNECTIONS * workers, room)
    if wanted > room:
        raise ConfigurationError(
            f"{flag} {wanted} needs more than the {descriptors} file descriptors"
            " this process may open",
            f"ask for at most {room}, or raise the limit (ulimit -n, LimitNOFILE=)",
        )
    return Shares(wanted, handshakes)


def read_switch(environment: Mapping[str, str], name: str) -> bool:
    """Whether the variable ``name`` is 1. It must be 1 or not set.

    Raises:
        ConfigurationError: it has another value, which the text does not show.
    """
    value = environment.get(name)
    if value not in {None, "1"}:
        raise ConfigurationError(f"{name} is neither 1 nor unset", f"set {name}=1, or unset it")
    return value == "1"


def check_privileges(*, production: bool) -> None:
    """Check that this process has no privileges that a relay does not need.

    Root is refused in ``production``. Another user may have no capability but the one to bind low
    ports.

    Raises:
        ConfigurationError: this process has more privileges.
    """
    if os.geteuid() == 0:
        if production:
            raise ConfigurationError(
                "a relay in production does not run as root",
                "run it as a user of its own; CAP_NET_BIND_SERVICE lets it have ports 80 and 443",
            )
        return
    held = _capabilities() & ~_CAP_NET_BIND_SERVICE
    if held:
        raise ConfigurationError(
            f"this process has capabilities that a relay does not need (CapPrm {held:#x})",
            "leave it CAP_NET_BIND_SERVICE at most",
        )


def _capabilities() -> int:
    """The permitted capabilities of this process as a bit mask; 0 if the system has none.

    A permitted capability can be made effective at any time (capabilities(7)).
    """
    try:
        status = _STATUS.read_text()
    except OSError:
        return 0
    return int(status.partition("CapPrm:")[2].split(None, 1)[0], 16)
