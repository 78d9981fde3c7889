"""Bounded HTTPS calls: limits on the time and the size of every request to Google's endpoints.

The calls run in threads (:mod:`fastrelay.net.outgoing`), so that nothing an endpoint sends is
received, decrypted or parsed in the event loop.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from fastrelay import __version__
from fastrelay.loop.daemon_thread import in_daemon_thread
from fastrelay.net.outgoing.addresses import AddressInfo
from fastrelay.net.outgoing.allowance import Allowance
from fastrelay.net.outgoing.https_connection import Answer, ConnectFailed, HttpsConnection
from fastrelay.push.idle_connections import IdleConnections
from fastrelay.push.resolver import LookupFailed, Resolver

MAX_REPLY_BYTES: Final = 4096
"""The bytes of a reply's body that are read at most; the connection is closed if there are more."""

MAX_CALL_BYTES: Final = 64 * 1024
"""The bytes that a call receives at most: TLS, interim responses, the head, the body with its
framing. A handshake with Google takes about 7,000 and a reply about 2,000."""

_MAX_CODES: Final = 4
_REASON: Final = re.compile(r"[A-Z0-9_]{1,64}")
_OAUTH_ERRORS: Final = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant"),
        *("unauthorized_client", "unsupported_grant_type", "invalid_scope"),
    }
)
"""The error codes of RFC 6749 §5.2."""


class Reply(NamedTuple):
    """A response: its status, and at most the first :data:`MAX_REPLY_BYTES` of its body."""

    status: int
    body: bytes


class CallFailed(Exception):
    """A call brought no response. The text is one of a few constant words and may be logged."""


class HttpsClient:
    """Sends POST requests to HTTPS URLs and reuses its connections.

    Redirects are returned and not followed. Cookies, proxy variables and ``.netrc`` are ignored.

    Args:
        ca_file: the PEM file of the certificates to trust; ``None`` for the system's.
        timeout: the seconds that a whole call may take, from the name lookup to the last byte.
    """

    def __init__(self, ca_file: str | None, timeout: float) -> None:
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._tls.set_alpn_protocols(["http/1.1"])
        self._timeout = timeout
        self._resolver = Resolver()
        self._idle = IdleConnections()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send a POST request and return the reply.

        Raises:
            CallFailed: there was no reply, or it was not complete in time.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(url, headers, body)
        # The exceptions are not passed on, because some quote what was received.
        except TimeoutError:
            reason = "TIMEOUT"
        except ssl.SSLError:
            reason = "TLS_FAILED"
        except LookupFailed:
            reason = "DNS_FAILED"
        except ConnectFailed:
            reason = "CONNECT_FAILED"
        except OSError:
            reason = "CALL_FAILED"
        raise CallFailed(reason)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        # The thread ends with the call even if nothing waits for it any more.
        allowance = Allowance(self._timeout, MAX_CALL_BYTES)
        connection, addresses = self._idle.take((host, port)), list[AddressInfo]()
        if connection is None:
            addresses = await self._resolver.resolve(host, port)
            connection = HttpsConnection(host, port, self._tls)
        request = {"User-Agent": f"fastrelay/{__version__}", **headers}
        answer = await _call(connection, addresses, allowance, parts.path or "/", request, body)
        self._idle.put((host, port), connection)
        return Reply(answer.status, answer.body)

    async def close(self) -> None:
        """Close the connections."""
        self._idle.close()


async def _call(
    connection: HttpsConnection,
    addresses: Sequence[AddressInfo],
    allowance: Allowance,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
) -> Answer:
    def call() -> Answer:
        return connection.call(addresses, allowance, "POST", path, headers, body, MAX_REPLY_BYTES)

    try:
        return await in_daemon_thread(call)
    except asyncio.CancelledError:
        connection.give_up()
        raise


class _Detail(msgspec.Struct):
    code: str = msgspec.field(name="errorCode", default="")
    reason: str = ""


class _Error(msgspec.Struct):
    status: str = ""
    details: tuple[_Detail, ...] = ()


class _ErrorReply(msgspec.Struct):
    error: _Error | str


_decode_error: Final = msgspec.json.Decoder(_ErrorReply).decode


def reason_codes(body: bytes) -> list[str]:
    """The reason codes of an error reply, in upper case; at most four, without duplicates.

    Reads google.rpc.Status (``status``, ``errorCode`` and ``reason``) and OAuth errors
    (RFC 6749 §5.2). Texts that do not have the form of a code are left out.
    """
    try:
        error = _decode_error(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    if isinstance(error, str):
        return [error.upper()] if error in _OAUTH_ERRORS else []
    found = [error.status]
    for detail in error.details:
        found += (detail.code, detail.reason)
    return [code for code in dict.fromkeys(found) if _REASON.fullmatch(code)][:_MAX_CODES]


class _Accepted(msgspec.Struct):
    name: str


_decode_accepted: Final = msgspec.json.Decoder(_Accepted).decode
_TELLING: Final = 8
"""So many characters of a secret tell something of it."""

_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9:%._=-]{1,128}")


def message_id(reply: Reply, *secrets: str) -> str:
    """The last part of the name that FCM has given a message, as text that may be logged.

    Empty if there is none of the usual form, or if it shares text with one of ``secrets``.
    """
    try:
        found = _decode_accepted(reply.body).name.rpartition("/")[2]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    is_told = len(found) >= _TELLING and any(found in secret for secret in secrets)
    if is_told or any(secret in found for secret in secrets) or not _MESSAGE_ID.fullmatch(found):
        return ""
    return found


def describe_refusal(reply: Reply, *secrets: str) -> str:
    """The status and the reason codes of an error reply, as text that may be logged.

    A code that is a part of one of ``secrets`` is left out, because a server may echo what it was
    sent.
    """
    codes = (c for c in reason_codes(reply.body) if not any(c in secret for secret in secrets))
    return " ".join((f"HTTP {reply.status}", *codes))
