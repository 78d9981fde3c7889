"""Hints for the user about an unexpected status or a failed connection."""

import re
import socket
from collections.abc import Mapping
from typing import Final

from fastrelay.tools.support.connection import Unexpected

_PASSES_ON: Final = "does a proxy in front pass /v1/ and /healthz on, with Upgrade and Connection?"
_IS_IT_RUNNING: Final = "is it running, and does the proxy have its right address?"
_REDIRECTED: Final = "give the address that it leads to (wss:// for https://); none is followed"

_HINTS: Final = {
    200: _PASSES_ON,
    400: "if it serves TLS there, use wss://; if not, a proxy removes headers (X-Pyrycode-...)",
    401: "a proxy in front asks for a password; the relay has none, and its clients send none",
    403: "a proxy or a firewall in front forbids it; the relay itself never answers so",
    404: f"is this the address of a relay? If so: {_PASSES_ON}",
    421: "the relay serves one name only: use the one its --domain gives",
    426: _PASSES_ON,
    502: f"a proxy in front cannot reach the relay: {_IS_IT_RUNNING}",
    504: f"a proxy in front waits for the relay in vain: {_IS_IT_RUNNING}",
}

_OF_ERRORS: Final = (
    (ConnectionRefusedError, "is the relay running, and does it listen on this address and port?"),
    (socket.gaierror, "look at the spelling of the host, and at its records in the DNS"),
    (TimeoutError, "does a firewall drop what is sent there, or is the relay overloaded?"),
    (ConnectionError, "look at the log of the relay, and of a proxy in front"),
)
_NO_WAY: Final = "is there a way to that address from this machine?"

_UNAVAILABLE_RELAY: Final = (
    "the relay has as many connections as it may (--max-connections, ...-per-ip)"
)
_UNAVAILABLE_WORKER: Final = "a worker of the relay is being started again; try again"
_UNAVAILABLE_PROXY: Final = (
    "a proxy in front answers so, which regards no relay as up: is it running, and does the"
    " proxy's check of it pass?"
)


def unexpected_status(status: int, headers: Mapping[bytes, bytes]) -> Unexpected:
    """The exception for an unexpected HTTP status, with a hint for the user.

    Args:
        status: the status code.
        headers: those of the response, by lower-case name.
    """
    if status == 429:
        return _too_many(headers.get(b"retry-after", b""))
    if status == 503:
        return Unexpected(f"HTTP {status}", _hint_of_503(headers))
    if 300 <= status < 400 and (location := headers.get(b"location")):
        return Unexpected(f"HTTP {status}, to {location.decode('latin-1')}", _REDIRECTED)
    return Unexpected(f"HTTP {status}", _HINTS.get(status, ""))


def hint_of(error: OSError) -> str:
    """What the user can do about a connection that failed."""
    return next((hint for kind, hint in _OF_ERRORS if isinstance(error, kind)), _NO_WAY)


def _too_many(retry_after: bytes) -> Unexpected:
    seconds = f"{int(retry_after)} s" if re.fullmatch(rb"\d{1,6}", retry_after) else "a while"
    return Unexpected(
        "HTTP 429: too many attempts to connect from this address",
        f"wait {seconds} or longer and probe less often; the relay's --upgrade-burst and"
        " --upgrade-refill say how much an address may do, and a run takes four attempts",
    )


def _hint_of_503(headers: Mapping[bytes, bytes]) -> str:
    # A refusal of the relay has no body, and this header, which proxies pass on.
    empty = headers.get(b"content-length") == b"0"
    if not empty or headers.get(b"x-content-type-options") != b"nosniff":
        return _UNAVAILABLE_PROXY
    return _UNAVAILABLE_WORKER if b"retry-after" in headers else _UNAVAILABLE_RELAY
