"""Checks the service account that push wakes are sent with."""

import re
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fastrelay.config.settings import ServiceAccount

_LEAST_KEY_BITS: Final = 2048
_FIELDS: Final = {
    "type": re.compile("service_account"),
    "project_id": re.compile("[a-z][a-z0-9.:-]{0,127}"),  # becomes part of a URL's path
    "client_email": re.compile("[!-~]{1,256}@[!-~]{1,256}"),
    "private_key": re.compile("(?s).+"),
    "private_key_id": re.compile("[!-~]{0,128}"),
}


class BadCredential(ValueError):
    """The text is not the JSON key of a service account. The exception does not quote it."""


def read_service_account(text: str) -> ServiceAccount:
    """Check the JSON key as Google hands it out.

    Raises:
        BadCredential: ``text`` is not a usable key.
    """
    try:
        # os.environ has invalid UTF-8 as lone surrogates, which this encoding refuses.
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
    _check_key(fields["private_key"])
    return ServiceAccount(
        project_id=fields["project_id"],
        client_email=fields["client_email"],
        private_key=fields["private_key"],
        private_key_id=fields["private_key_id"],
    )


def _check_key(pem: str) -> None:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadCredential("has a private_key that cannot be read") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < _LEAST_KEY_BITS:
        raise BadCredential(f"has a private_key that is not RSA of {_LEAST_KEY_BITS} bits or more")
