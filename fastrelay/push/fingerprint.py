"""Identifies device tokens in the log without showing them."""

import os
from hashlib import blake2b
from typing import Final

_BYTES: Final = 8
_PURPOSE: Final = b"device token"


class Fingerprints:
    """Fingerprints of device tokens: equal for equal tokens, but only within one relay's log.

    Args:
        key: random bytes that all processes of a relay share; ``None``: those of this object.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = os.urandom(16) if key is None else key

    def of(self, device_token: str) -> str:
        """The fingerprint of a token, as hexadecimal digits."""
        content = device_token.encode(errors="surrogatepass")
        return blake2b(content, key=self._key, person=_PURPOSE, digest_size=_BYTES).hexdigest()
