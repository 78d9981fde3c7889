"""Parses the text of one flag, environment variable or key of the configuration file.

Every parser takes the text and returns the value, or raises :class:`BadValue`. It does not
know where the text came from; :mod:`fastrelay.config.sources` puts that in front of the message.
"""

import argparse
import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fastrelay.config.settings import GIB, KIB, MIB, Address, Network

MOST: Final = 2**40
"""The largest number that any flag takes, unless its own limit is smaller."""

MOST_WORKERS: Final = 128

_MOST_DIGITS: Final = 15
_QUOTED: Final = 60
_UNITS: Final = {"": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
_SIZE: Final = re.compile(r"([0-9]+)(?: ?(KiB|MiB|GiB))?")
_WHOLE: Final = re.compile(r"[0-9]+")
_DECIMAL: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_ON: Final = frozenset({"1", "t", "T", "true", "True", "TRUE"})
_OFF: Final = frozenset({"0", "f", "F", "false", "False", "FALSE"})
"""The words for a switch are those of Go's ``strconv.ParseBool``, as for the Go relay's flags."""

_DOMAIN: Final = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*")


class BadValue(argparse.ArgumentTypeError):
    """The text is not a value of the kind that is wanted.

    Attributes:
        what: the end of a sentence that begins with where the text came from.
        fix: one line that says what to give instead.
    """

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


def quoted(text: str, most: int = _QUOTED) -> str:
    """The text in quotes, escaped, and cut to its first ``most`` characters."""
    return repr(text if len(text) <= most else f"{text[:most]}...")


def number(
    kind: type[int] | type[float], least: float, most: float = MOST
) -> Callable[[str], float]:
    """A parser of plain decimal numbers from ``least`` to ``most``.

    There is no sign, exponent, underscore or space; ``nan``, ``inf``, ``0x10`` and digits of other
    scripts are refused with everything else that Python would take.
    """
    noun = "a whole number" if kind is int else "a number"
    pattern = _WHOLE if kind is int else _DECIMAL
    span = f"{noun} from {least:.15g} to {most:.15g}"

    def parse(text: str) -> float:
        if pattern.fullmatch(text) and len(text) <= 2 * _MOST_DIGITS:
            value = kind(text)
            if least <= value <= most:
                return value
        raise BadValue(f"{quoted(text)} is not {span}", f"give {span}, in decimal digits")

    return parse


def count_or_auto(text: str) -> int | str:
    """Parse a number of workers, or ``auto``."""
    try:
        return text if text == "auto" else int(number(int, 1, MOST_WORKERS)(text))
    except BadValue as bad:
        raise BadValue(f"{bad.what}, and not auto", f"{bad.fix}, or auto") from None


def size(least: int, most: int = MOST) -> Callable[[str], int]:
    """A parser of sizes from ``least`` to ``most`` bytes: ``262144``, ``256KiB``, ``1 GiB``."""
    span = f"a size from {in_units(least)} to {in_units(most)}"

    def parse(text: str) -> int:
        match = _SIZE.fullmatch(text)
        if match and len(match[1]) <= _MOST_DIGITS:
            value = int(match[1]) * _UNITS[match[2] or ""]
            if least <= value <= most:
                return value
        raise BadValue(
            f"{quoted(text)} is not {span}",
            "give a whole number of bytes, or of KiB, MiB or GiB, for example 256KiB",
        )

    return parse


def in_units(size: int) -> str:
    """A number of bytes as text, in the largest unit that needs no fraction."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


def switch(text: str) -> bool:
    """Whether a switch is on."""
    if text in _ON:
        return True
    if text in _OFF:
        return False
    raise BadValue(f"{quoted(text)} is neither true nor false", "give true or false")


def one_of(*words: str) -> Callable[[str], str]:
    """A parser of one of ``words``."""

    def parse(text: str) -> str:
        if text in words:
            return text
        choices = f"{', '.join(words[:-1])} or {words[-1]}"
        raise BadValue(f"{quoted(text)} is not {choices}", f"give {choices}")

    return parse


def address(text: str) -> Address:
    """Parse ``HOST:PORT``, ``:PORT`` or ``[IPv6]:PORT`` with a port from 1 to 65535."""
    host, colon, port = text.rpartition(":")
    if bracketed := host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    good_host = host.isascii() and host.isprintable() and bracketed == (":" in host)
    if not colon or not good_host or not _WHOLE.fullmatch(port):
        raise BadValue(f"{quoted(text)} is not HOST:PORT", "for example 127.0.0.1:8080, or :8080")
    if len(port) > 5 or not 1 <= int(port) <= 65535:
        raise BadValue(f"{quoted(text)} has no port from 1 to 65535", "name the port to listen on")
    return Address(host, int(port))


def metrics_address(text: str) -> Address | None:
    """Parse the address for ``/metrics``: a loopback literal with a port, or empty for none.

    Metrics show when peers are connected, so they are never served to a network. A hostname is
    refused even if it resolves to a loopback address now, because that can change.
    """
    if not text:
        return None
    found = address(text)
    try:
        loopback = ipaddress.ip_address(found.host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise BadValue(
            f"{quoted(text)} is not a loopback address",
            "use 127.0.0.1:PORT or [::1]:PORT, or an empty value for no metrics",
        )
    return found


def networks(text: str) -> tuple[Network, ...]:
    """Parse comma-separated networks or addresses, at least one.

    An empty list is refused. It would mean that every peer is believed, and a variable that is not
    set in a unit file must not have this effect.
    """
    try:
        return tuple(_unmapped(ipaddress.ip_network(entry.strip())) for entry in text.split(","))
    except ValueError as error:
        fix = "for example 10.0.0.0/8,fd00::/8, or without networks to believe any peer"
        raise BadValue(f"names no network: {str(error)[: 2 * _QUOTED]}", fix) from None


def _unmapped(network: Network) -> Network:
    """The IPv4 network that an IPv4-mapped one stands for; clients have their IPv4 addresses."""
    if isinstance(network, ipaddress.IPv4Network) or network.prefixlen < 96:
        return network
    mapped = network.network_address.ipv4_mapped
    return network if mapped is None else ipaddress.ip_network((mapped, network.prefixlen - 96))


def trust(text: str) -> tuple[Network, ...] | None:
    """Parse which peers are believed: ``true`` (all), ``false`` (none), or networks.

    The result for all peers is empty.
    """
    if text in _ON | _OFF:
        return () if switch(text) else None
    return networks(text)


def domain(text: str) -> str:
    """Parse a domain name of at least two labels, in lower case."""
    name = text.lower()
    if not _DOMAIN.fullmatch(name):
        raise BadValue(f"{quoted(text)} is not a domain name", "for example relay.example.org")
    return name


def file_name(text: str) -> str:
    """Parse the name of a file that will be read."""
    if not text or "\0" in text:
        raise BadValue(f"{quoted(text)} names no file", "name a file that the relay may read")
    return text


def directory(text: str) -> Path:
    """Parse the name of a directory; ``~`` is the home directory."""
    fix = "name a directory of the relay's own; where HOME is not set, ~ is none"
    if not text or "\0" in text:
        raise BadValue(f"{quoted(text)} names no directory", fix)
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise BadValue(f"{quoted(text)}: there is no such home directory", fix) from None


def email(text: str) -> str:
    """Parse an e-mail address, as far as it must be one for a CA to be given it."""
    if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", text):
        raise BadValue(f"{quoted(text)} is not an e-mail address", "for example ops@example.org")
    return text


def https_url(text: str) -> str:
    """Parse an https URL without user, query and fragment."""
    try:
        url = urlsplit(text)
        good = (
            url.scheme == "https"
            and url.hostname is not None
            and url.port != 0
            and url.username is None
            and not (url.query or url.fragment)
            and text.isascii()
            and text.isprintable()
            and " " not in text
        )
    except ValueError:
        good = False
    if not good:
        raise BadValue(
            # The URL is not quoted, because it may contain a password.
            "is not an https URL without user, query and fragment",
            "for example https://push-proxy.example:8443",
        )
    return text
