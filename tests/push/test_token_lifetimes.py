"""How long an access token is used, whatever the token endpoint says of it."""

import types
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fastrelay.config.settings import ServiceAccount
from fastrelay.push.access_token import AccessTokens, TokenFetchFailed

KEY = (
    rsa.generate_private_key(65537, 2048)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)


class Endpoint:
    def __init__(self, expires_in: str) -> None:
        self.fetches, self.now, self._expires_in = 0, 1000.0, expires_in

    async def post(self, *arguments: Any) -> Any:
        self.fetches += 1
        body = f'{{"access_token": "t", "token_type": "Bearer", "expires_in": {self._expires_in}}}'
        return types.SimpleNamespace(status=200, body=body.encode())


def tokens(endpoint: Endpoint) -> AccessTokens:
    account = ServiceAccount(
        project_id="p", client_email="a@p.example", private_key=KEY, private_key_id=""
    )
    return AccessTokens(account, "https://x/", endpoint, 60.0, lambda: endpoint.now)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["0", "-1", "-1e308", "0.5", "59"])
async def test_a_token_that_has_expired_already_is_not_fetched_for_each_wake(text: str) -> None:
    endpoint = Endpoint(text)
    source = tokens(endpoint)
    for _ in range(20):
        assert await source.get() == "t"
        endpoint.now += 1.0
    assert endpoint.fetches == 1
    endpoint.now += 60
    await source.get()
    assert endpoint.fetches == 2


@pytest.mark.parametrize("text", ["1e308", "1e300", "9" * 300, "86400"])
async def test_no_token_is_kept_longer_than_google_keeps_them(text: str) -> None:
    endpoint = Endpoint(text)
    source = tokens(endpoint)
    try:
        await source.get()
    except TokenFetchFailed:  # a number that is no number is no answer either
        assert text.startswith("9")
        return
    endpoint.now += 3600
    await source.get()
    assert endpoint.fetches == 2


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "null", '"soon"'])
async def test_what_is_no_number_is_no_answer(text: str) -> None:
    endpoint = Endpoint(text)
    source = tokens(endpoint)
    with pytest.raises(TokenFetchFailed, match="UNREADABLE"):
        await source.get()
