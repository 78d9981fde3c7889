"""Checks single values and the privileges of this process, before the relay starts."""

import argparse
import ipaddress
import os
import resource
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from fastrelay.config.errors import ConfigurationError
from fastrelay.config.settings import Address, Network

RESERVED_DESCRIPTORS = 64
"""Descriptors reserved for listeners, logs, the event loop, and accepts in progress."""

LEAST_HANDSHAKES = 16
"""The least number of pending connections allowed, however few descriptors there are."""

MOST_CONNECTIONS = 10_000
MOST_WORKERS = 128
DESCRIPTORS_OF_EACH_WORKER = 3
"""A worker has a listening socket of each worker, and two sockets to each other one."""
"""The default cap on live WebSockets if the descriptor limit allows more."""

_STATUS: Final = Path("/proc/self/status")
_CAP_NET_BIND_SERVICE: Final = 1 << 10


class CommandLineParser(argparse.ArgumentParser):
    """An argument parser that raises configuration errors."""

    def error(self, message: str) -> NoReturn:
        """Raise :class:`ConfigurationError`, where argparse would exit."""
        raise ConfigurationError(message, f"{self.prog} --help shows every flag and its default")


def number(
    kind: type[int] | type[float], least: float, most: float = 2**40
) -> Callable[[str], float]:
    """An argparse type: a number from ``least`` to ``most``."""
    noun = "whole number" if kind is int else "number"

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(-1)
        if value > most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a {noun} of at most {most}")
        if not value >= least:  # "nan" compares false
            raise argparse.ArgumentTypeError(f"{text!r} is not a {noun} of at least {least}")
        return value

    return parse


def count_or_auto(text: str) -> int | str:
    """An argparse type: a number of workers, or ``auto``."""
    return text if text == "auto" else int(number(int, 1, MOST_WORKERS)(text))


def parse_address(flag: str, text: str) -> Address:
    """Parse ``HOST:PORT``, ``:PORT`` or ``[IPv6]:PORT`` with a port from 1 to 65535.

    Raises:
        ConfigurationError: ``text`` has none of these forms.
    """
    host, colon, port = text.rpartition(":")
    if bracketed := host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    good_host = host.isascii() and bracketed == (":" in host)
    if not colon or not good_host or not port.isascii() or not port.isdigit():
        raise ConfigurationError(
            f"{flag} {text!r} is not HOST:PORT", "for example 127.0.0.1:8080, or :8080"
        )
    if len(port) > 5 or not 1 <= int(port) <= 65535:
        raise ConfigurationError(
            f"{flag} {text!r} has no port from 1 to 65535", "name the port to listen on"
        )
    return Address(host, int(port))


def parse_metrics_address(text: str) -> Address | None:
    """Parse the address for ``/metrics``: a loopback literal with a port, or empty for none.

    Metrics show when peers are connected, so they are never served to a network. A hostname is
    refused even if it resolves to a loopback address now, because that can change.

    Raises:
        ConfigurationError: ``text`` is anything else.
    """
    if not text:
        return None
    address = parse_address("--metrics-listen", text)
    try:
        loopback = ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigurationError(
            f"--metrics-listen {text!r} is not a loopback address",
            "use 127.0.0.1:PORT or [::1]:PORT, or an empty value for no metrics",
        )
    return address


def parse_networks(flag: str) -> Callable[[str], tuple[Network, ...]]:
    """An argparse type for ``flag``: comma-separated networks or addresses, at least one.

    Raises:
        ConfigurationError: an entry is neither, or the list is empty. No networks would mean that
            any peer is believed, and an unset variable in a unit file must not come to mean that.
    """

    def parse(text: str) -> tuple[Network, ...]:
        try:
            return tuple(ipaddress.ip_network(entry.strip()) for entry in text.split(","))
        except ValueError as error:
            fix = "for example 10.0.0.0/8,fd00::/8, or without networks to believe any peer"
            raise ConfigurationError(f"{flag}: {error}", fix) from None

    return parse


def client_ssl_context(flag: str, file: str | None) -> ssl.SSLContext:
    """The TLS context of a client that trusts the certificates in ``file``, or the system's.

    Args:
        flag: the flag that names the file.
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
    """How many live WebSockets, and how many pending connections there may be."""

    connections: int
    handshakes: int


def raise_descriptor_limit() -> int:
    """Raise the soft limit of file descriptors to the hard limit; returns that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def share_of_worker(descriptors: int, workers: int = 1, *, has_tls: bool = False) -> Shares:
    """What one process may have; together that never needs more than ``descriptors``.

    So accept never fails because none is left. With several workers a TLS connection takes two:
    that of the peer, and one to the worker that owns it.
    """
    reserved = RESERVED_DESCRIPTORS
    if workers > 1:
        reserved += DESCRIPTORS_OF_EACH_WORKER * workers
    usable = descriptors - reserved
    handshakes = max(LEAST_HANDSHAKES, min(1_000, usable // 10))
    return Shares((usable - handshakes) // (2 if has_tls and workers > 1 else 1), handshakes)


def share_descriptors(
    descriptors: int, wanted: int | None, workers: int = 1, *, has_tls: bool = False
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
    if wanted is None:
        wanted = min(MOST_CONNECTIONS, here) * workers
    if wanted > room:
        raise ConfigurationError(
            f"--max-connections {wanted} needs more than the {descriptors} file descriptors"
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
