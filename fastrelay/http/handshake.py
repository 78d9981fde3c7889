"""Gate 5: the WebSocket handshake of a request that h11 has parsed (RFC 6455 §4.2).

:func:`check_handshake` is stricter than wsproto: it refuses a key that is not 16 bytes, two keys,
and a body. wsproto makes the 101, once for all upgrades (docs/decisions/0007-one-101-for-all.md).
"""

import asyncio
import binascii
from http import HTTPStatus
from typing import Final

import wsproto
from wsproto.events import AcceptConnection
from wsproto.utilities import generate_accept_token

from fastrelay.http.exchange import Exchange
from fastrelay.http.responses import (
    BAD_REQUEST,
    GET_ONLY,
    UPGRADE_REQUIRED,
    Response,
)
from fastrelay.http.status import StatusHook, write_status

_HOST: Final = (b"Host", b"relay")
"""wsproto requires a Host header and decodes it, but the response does not depend on it."""


def _perform(key: bytes) -> bytes:
    """The 101 that wsproto sends for ``key``."""
    connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    connection.initiate_upgrade_connection(
        [
            _HOST,
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Version", b"13"),
            (b"Sec-WebSocket-Key", key),
        ],
        "/",
    )
    return connection.send(AcceptConnection())


# Without extensions and subprotocols, 101s differ only in their tokens, so wsproto makes one and
# each upgrade fills in its token. docs/performance.md has what that saves.
_ANY_KEY: Final = b"AAAAAAAAAAAAAAAAAAAAAA=="
_BEFORE_TOKEN, _, _AFTER_TOKEN = _perform(_ANY_KEY).partition(generate_accept_token(_ANY_KEY))


class BadHandshake(Exception):
    """The request is not an acceptable handshake; ``response`` is the refusal."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def check_handshake(exchange: Exchange) -> bytes:
    """The accept token that answers the handshake (RFC 6455 §4.2.2).

    Raises:
        BadHandshake: not GET (405), no WebSocket upgrade or another version (426), or a handshake
            that breaks RFC 6455 §4.2.1 (400).
    """
    request = exchange.request
    if request.method != b"GET":
        raise BadHandshake(GET_ONLY)
    versions = exchange.header(b"sec-websocket-version")
    if (
        not _names(exchange, b"upgrade", b"websocket")
        or not _names(exchange, b"connection", b"upgrade")
        or (versions and versions != [b"13"])
    ):
        raise BadHandshake(UPGRADE_REQUIRED)
    keys = exchange.header(b"sec-websocket-key")
    if (
        not versions
        or len(keys) != 1
        or not _is_nonce(keys[0])
        or exchange.has_body
        or request.http_version != b"1.1"
        or len(exchange.header(b"host")) != 1
    ):
        raise BadHandshake(BAD_REQUEST)
    return generate_accept_token(keys[0])


def switch_protocols(
    transport: asyncio.Transport, accept_token: bytes, hook: StatusHook | None
) -> None:
    """Write the 101 with this accept token.

    No extension and no subprotocol is ever negotiated.
    """
    head = _BEFORE_TOKEN + accept_token + _AFTER_TOKEN
    write_status(transport, HTTPStatus.SWITCHING_PROTOCOLS, head, hook)


def _names(exchange: Exchange, header: bytes, token: bytes) -> bool:
    """Whether a comma-separated header names ``token``, in any case."""
    listed = b",".join(exchange.header(header)).lower()
    return listed == token or token in (item.strip() for item in listed.split(b","))


def _is_nonce(key: bytes) -> bool:
    """Whether ``key`` is the base64 of 16 bytes."""
    try:
        return len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except binascii.Error:
        return False
