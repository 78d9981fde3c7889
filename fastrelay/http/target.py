"""Finds out the path and the host of a request, from its target and its Host header.

Sources: RFC 9112 §3.2 (forms of the target), RFC 9110 §7.2 (Host), RFC 3986 §3.2.2 (hosts).
"""

import re
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Final, NamedTuple

_IPV6: Final = rb"\[(?P<ipv6>[0-9A-Fa-f:.]+)\]"
_FUTURE: Final = rb"\[[vV][0-9A-Fa-f]+\.[\w\-.~!$&'()*+,;=:]+\]"
# What is matched is not given back (++), so runs of characters cost one step, and no name is dear.
_REGISTERED: Final = rb"(?:[\w\-.~!$&'()*+,;=]++|%[0-9A-Fa-f]{2})++"
_HOST: Final = rb"(?P<host>" + _IPV6 + rb"|" + _FUTURE + rb"|" + _REGISTERED + rb")"
_AUTHORITY: Final = re.compile(_HOST + rb"(?::[0-9]*)?")
"""A host and perhaps a port, without user information, which no request may have (RFC 9110 §4.2.4).

An IPv4 address is a registered name as well, as far as the grammar goes.
"""

_ABSOLUTE: Final = re.compile(rb"(?i:https?)://(?P<authority>[^/?#]*)(?P<rest>.*)")


class Target(NamedTuple):
    """The path and the host of a request.

    Attributes:
        path: without the query; of an asterisk or authority form, all of the target.
        host: in lower case and without a port; empty if the request names none.
    """

    path: str
    host: bytes


def read_target(target: bytes, hosts: Sequence[bytes]) -> Target | None:
    """The path and host of a request with this target and these Host headers.

    Returns ``None`` if the request is malformed. The host of an absolute target overrides the Host
    header, which must be valid all the same.
    """
    host = _host_of(hosts[0]) if hosts else b""
    if host is None:
        return None
    if not target.startswith(b"/") and (absolute := _ABSOLUTE.fullmatch(target)):
        authority, target = absolute["authority"], absolute["rest"]
        host = _host_of(authority) if authority else None
        if host is None:
            return None
        if not target.startswith(b"/"):
            target = b"/" + target
    return Target(target.partition(b"?")[0].decode("ascii"), host)


def _host_of(authority: bytes) -> bytes | None:
    """The host of a ``host:port``; ``None`` if it is not one. Nothing at all is an empty host."""
    if not authority:
        return authority
    parsed = _AUTHORITY.fullmatch(authority)
    if parsed is None or (parsed["ipv6"] is not None and not _is_ipv6(parsed["ipv6"])):
        return None
    return parsed["host"].rstrip(b".").lower()


def _is_ipv6(text: bytes) -> bool:
    try:
        IPv6Address(text.decode("ascii"))
    except ValueError:
        return False
    return True
