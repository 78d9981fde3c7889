"""One bounded HTTPS call: what every request to Google's endpoints has in common."""

import asyncio
import re
import ssl
from collections.abc import Mapping
from typing import Final, NamedTuple

import aiohttp
import msgspec

from fastrelay import __version__
from fastrelay.push.resolver import DaemonResolver

MAX_REPLY_BYTES: Final = 4096
"""How much of a reply is read; what comes behind it is never asked for."""

_MAX_CODES: Final = 4
_REASON: Final = re.compile(r"[A-Z0-9_]{1,64}")
_OAUTH_ERRORS: Final = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant"),
        *("unauthorized_client", "unsupported_grant_type", "invalid_scope"),
    }
)
"""RFC 6749 §5.2. Google's token endpoint says these in lower case."""


class Reply(NamedTuple):
    """A response: its status, and at most :data:`MAX_REPLY_BYTES` of its body."""

    status: int
    body: bytes


class CallFailed(Exception):
    """There is no response. The text is one constant word."""


class HttpsClient:
    """Posts to HTTPS URLs, over connections that are kept for the next call.

    A redirect is a reply like any other. No cookie, proxy variable or password file is looked at.

    Args:
        ca_file: the PEM certificates to trust; ``None``: the system's.
        timeout: seconds for one whole call, from the name lookup to the last byte.
    """

    def __init__(self, ca_file: str | None, timeout: float) -> None:
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The reply to a POST.

        Raises:
            CallFailed: there was none, or it did not end in time.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(url, headers, body)
        # None of the library's errors goes any further: some show the request's headers.
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
        # Made at the first call, so that who never calls has nothing to close.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=self._tls,
                limit=0,  # admission bounds the calls
                resolver=DaemonResolver(),
            ),
            headers={"User-Agent": f"fastrelay/{__version__}", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # ours is exact
            auto_decompress=False,  # 4 KiB are 4 KiB
            read_bufsize=MAX_REPLY_BYTES,
        )

    async def close(self) -> None:
        """Drop the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class _Detail(msgspec.Struct):
    code: str = msgspec.field(name="errorCode", default="")
    reason: str = ""


class _Error(msgspec.Struct):
    status: str = ""
    details: list[_Detail] = []


class _ErrorReply(msgspec.Struct):
    error: _Error | str


_decode_error: Final = msgspec.json.Decoder(_ErrorReply).decode


def reason_codes(body: bytes) -> list[str]:
    """The codes an error reply gives as its reason; anything not shaped like one is left out.

    Both shapes are read: google.rpc.Status, and OAuth's (in upper case).
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
    """A refusal in words fit for a log: the status and the reason codes.

    A code that is part of one of ``secrets`` is left out: a server may say back what we sent.
    """
    codes = (c for c in reason_codes(reply.body) if not any(c in secret for secret in secrets))
    return " ".join((f"HTTP {reply.status}", *codes))
