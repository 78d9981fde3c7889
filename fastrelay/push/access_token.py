"""Fetches OAuth access tokens (RFC 7523) and keeps the current one while it is valid."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import urlencode

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fastrelay.config.settings import ServiceAccount
from fastrelay.push.https import CallFailed, HttpsClient, describe_refusal

AUDIENCE: Final = "https://oauth2.googleapis.com/token"
"""The audience of our assertions. It is Google even if they are sent to a proxy."""

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
"""The only scope of our access tokens."""

_GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_ASSERTION_LIFETIME: Final = 600
"""Seconds. Google accepts at most an hour."""

_LEAST_LIFETIME: Final = 60.0
"""Seconds for which a token is used at least, unless the API refuses it."""

_MOST_LIFETIME: Final = 3600.0
"""Seconds. Google's tokens have no longer ones."""

_TOKEN: Final = re.compile("[!-~]+")


class TokenFetchFailed(Exception):
    """No access token could be fetched. The text may be logged."""


class _Grant(msgspec.Struct):
    access_token: str
    expires_in: float


_decode_grant: Final = msgspec.json.Decoder(_Grant).decode


class AccessTokens:
    """Provides the access token of one service account. All callers share one fetch.

    Args:
        account: the service account, checked by ``fastrelay.config``.
        url: the URL of the token endpoint.
        client: makes the calls.
        margin: a token is no longer used in the last ``margin`` seconds before it expires.
        clock: returns monotonic seconds.
        wall_clock: returns seconds since the epoch, for the issue time of assertions.
    """

    def __init__(
        self,
        account: ServiceAccount,
        url: str,
        client: HttpsClient,
        margin: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        # The settings' checks have parsed the key before, so this cannot fail. It is parsed once,
        # because parsing takes longer than signing.
        key = load_pem_private_key(account.private_key.encode(), password=None)
        self._key = cast("RSAPrivateKey", key)
        self._url = url
        self._client = client
        self._margin = margin
        self._clock = clock
        self._wall_clock = wall_clock
        self._token = ""
        self._valid_until = 0.0
        self._fetching: asyncio.Task[str] | None = None

    async def get(self, *, rejected: str = "") -> str:
        """A token that is valid now; it is fetched if there is none.

        Args:
            rejected: a token that the API has refused, and that is not returned again.

        Raises:
            TokenFetchFailed: a token was needed and could not be fetched.
        """
        if self._token not in ("", rejected) and self._clock() < self._valid_until:
            return self._token
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        # A caller that is cancelled must not cancel the fetch for the others.
        return await asyncio.shield(self._fetching)

    def _fetched(self, fetch: asyncio.Task[str]) -> None:
        self._fetching = None

    async def _fetch(self) -> str:
        requested_at = self._clock()
        assertion = self._assertion()
        form = urlencode({"grant_type": _GRANT_TYPE, "assertion": assertion})
        try:
            reply = await self._client.post(self._url, _FORM, form.encode())
        except CallFailed as failure:
            raise TokenFetchFailed(str(failure)) from None
        if reply.status != 200:
            raise TokenFetchFailed(describe_refusal(reply, assertion))
        try:
            grant = _decode_grant(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise TokenFetchFailed("HTTP 200 UNREADABLE") from None
        if not _TOKEN.fullmatch(grant.access_token):  # it becomes part of a header
            raise TokenFetchFailed("HTTP 200 UNREADABLE")
        self._token = grant.access_token
        # A proxy may answer any number. Too short a time would mean a fetch for each wake; too long
        # a one, a token that is used until the API refuses it.
        lifetime = min(max(grant.expires_in, _LEAST_LIFETIME + self._margin), _MOST_LIFETIME)
        self._valid_until = requested_at + lifetime - self._margin
        return self._token

    def _assertion(self) -> str:
        """A signed JWT that asks for an access token (RFC 7523 §3)."""
        account, now = self._account, int(self._wall_clock())
        claims = {
            "iss": account.client_email,
            "scope": SCOPE,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + _ASSERTION_LIFETIME,
        }
        key_id = {"kid": account.private_key_id} if account.private_key_id else None
        return jwt.encode(claims, self._key, algorithm="RS256", headers=key_id)

    async def close(self) -> None:
        """Cancel a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})
