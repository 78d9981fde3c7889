"""The service account in whose name wakes are sent."""

import re
from dataclasses import dataclass
from typing import Final

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_LEAST_KEY_BITS: Final = 2048
_FIELDS: Final = {
    "type": re.compile("service_account"),
    "project_id": re.compile("[a-z][a-z0-9.:-]{0,127}"),  # becomes part of a URL's path
    "client_email": re.compile("[!-~]{1,256}@[!-~]{1,256}"),
    "private_key": re.compile("(?s).+"),
    "private_key_id": re.compile("[!-~]{0,128}"),
}


class BadCredential(ValueError):
    """Not the JSON key of a service account. The text never quotes any of it."""


@dataclass(frozen=True, slots=True, repr=False)  # what has a key in it is not shown
class ServiceAccount:
    """What is used of a service account's JSON key.

    Its ``token_uri`` is not: where a signed assertion goes is the operator's flag to say.

    Attributes:
        project_id: whose messages are sent; safe in a URL's path.
        client_email: the account's name.
        private_key: signs assertions.
        private_key_id: tells Google which of the account's keys that is; may be empty.
    """

    project_id: str
    client_email: str
    private_key: RSAPrivateKey
    private_key_id: str

    def assertion(self, scope: str, audience: str, now: int, lifetime: int) -> str:
        """A signed JWT that asks for an access token (RFC 7523 §3).

        Args:
            scope: what the token shall be good for.
            audience: who shall honour the assertion.
            now, lifetime: seconds; now since the epoch. Google takes up to an hour.
        """
        claims = {
            "iss": self.client_email,
            "scope": scope,
            "aud": audience,
            "iat": now,
            "exp": now + lifetime,
        }
        key_id = {"kid": self.private_key_id} if self.private_key_id else None
        return jwt.encode(claims, self.private_key, algorithm="RS256", headers=key_id)


def read_service_account(text: str) -> ServiceAccount:
    """Check the JSON key as Google hands it out.

    Raises:
        BadCredential: it is something else.
    """
    try:
        # Encoded here, because bytes that are not UTF-8 come as lone surrogates.
        fields = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadCredential("is not JSON") from None
    if not isinstance(fields, dict):
        raise BadCredential("is not a JSON object")
    fields.setdefault("private_key_id", "")
    for name, shape in _FIELDS.items():
        value = fields.get(name)
        if not isinstance(value, str) or not shape.fullmatch(value):
            raise BadCredential(f"has no usable {name}")
    return ServiceAccount(
        fields["project_id"],
        fields["client_email"],
        _read_key(fields["private_key"]),
        fields["private_key_id"],
    )


def _read_key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadCredential("has a private_key that cannot be read") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < _LEAST_KEY_BITS:
        raise BadCredential(f"has a private_key that is not RSA of {_LEAST_KEY_BITS} bits or more")
    return key
