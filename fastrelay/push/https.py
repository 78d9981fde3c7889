"""Bounded HTTPS calls: limits on the time and the size of every request to Google's endpoints."""

import asyncio
import re
import ssl
from collections.abc import Mapping
from typing import Final, NamedTuple

import aiohttp
import msgspec

from fastrelay import __version__
from fastrelay.config.checks import client_ssl_context
from fastrelay.push.resolver import DaemonResolver

MAX_REPLY_BYTES: Final = 4096
"""The bytes of a reply's body that are read at most; the connection is closed if there are more."""

_MAX_CODES: Final = 4
_REASON: Final = re.compile(r"[A-Z0-9_]{1,64}")
_OAUTH_ERRORS: Final = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
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
        self._tls = client_ssl_context("--push-ca-file", ca_file)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send a POST request and return the reply.

        Raises:
            CallFailed: there was no reply, or it was not complete in time.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(url, headers, body)
        # The library's exceptions are not passed on, because some quote the request's headers,
        # which hold the access token.
        except TimeoutError:
            reason = "TIMEOUT"
        except (aiohttp.ClientSSLError, ssl.SSLError):
            reason = "TLS_FAILED"
        except aiohttp.ClientConnectorDNSError:
            reason = "DNS_FAILED"
        except aiohttp.ClientConnectorError:
            reason = "CONNECT_FAILED"
        except (aiohttp.ClientError, OSError):
            reason = "CALL_FAILED"
        raise CallFailed(reason)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if self._session is None:
            self._session = self._open()
        response = await self._session.post(url, headers=headers, data=body, allow_redirects=False)
        try:
            read = bytearray()
            while len(read) < MAX_REPLY_BYTES:
                chunk = await response.content.read(MAX_REPLY_BYTES - len(read))
                if not chunk:
                    break
                read += chunk
            return Reply(response.status, bytes(read))
        finally:
            response.close()  # keeps the connection only if the whole reply was read

    def _open(self) -> aiohttp.ClientSession:
        # Created at the first call, so that a client that never calls has nothing to close.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=self._tls,
                limit=0,  # the waker limits the calls
                resolver=DaemonResolver(),
            ),
            headers={"User-Agent": f"fastrelay/{__version__}", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            # post() limits the whole call.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,  # a small compressed body could expand to any size
            read_bufsize=MAX_REPLY_BYTES,
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


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


def describe_refusal(reply: Reply, *secrets: str) -> str:
    """The status and the reason codes of an error reply, as text that may be logged.

    A code that is a part of one of ``secrets`` is left out, because a server may echo what it was
    sent.
    """
    codes = (c for c in reason_codes(reply.body) if not any(c in secret for secret in secrets))
    return " ".join((f"HTTP {reply.status}", *codes))
