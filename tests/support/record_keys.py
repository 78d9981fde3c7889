"""The keys of a TLS connection whose records are made by hand (RFC 8446 §5 and §7, RFC 5246 §6).

Only AES-128-GCM with SHA-256, which both versions know. Nothing is checked that a test may want to
break: any content type, any length, any padding is encrypted as it is asked for.
"""

import hmac
import struct
from abc import ABC, abstractmethod

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHANGE_CIPHER, ALERT, HANDSHAKE, APPLICATION = 20, 21, 22, 23
KEY_BYTES, SECRET_BYTES, NONCE_BYTES, TAG_BYTES = 16, 32, 12, 16
LEGACY_VERSION = b"\x03\x03"


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HKDF-Extract (RFC 5869 §2.2), and one step of everything else here."""
    return hmac.digest(key, data, "sha256")


def expand_label(secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 §7.1) for at most one block of output."""
    name = b"tls13 " + label
    info = struct.pack("!HB", length, len(name)) + name + bytes([len(context)]) + context
    return hmac_sha256(secret, info + b"\x01")[:length]


def prf(secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """The pseudorandom function of TLS 1.2 (RFC 5246 §5)."""
    seed = label + seed
    made, step = b"", seed
    while len(made) < length:
        step = hmac_sha256(secret, step)
        made += hmac_sha256(secret, step + seed)
    return made[:length]


def record(content_type: int, data: bytes) -> bytes:
    """A record of exactly these bytes, in clear text if they are."""
    return bytes([content_type]) + LEGACY_VERSION + struct.pack("!H", len(data)) + data


class Keys(ABC):
    """What protects one direction; the sequence number goes on with each record."""

    def __init__(self) -> None:
        self._number = 0

    @abstractmethod
    def protect(
        self, content_type: int, data: bytes, *, padding: int = 0, outer: int | None = None
    ) -> bytes:
        """A whole record. ``outer``: the type on the wire, if it is not to be the right one."""

    @abstractmethod
    def unprotect(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        """Content type and content of a record.

        Raises:
            cryptography.exceptions.InvalidTag: it was not made with these keys.
        """

    def _next_number(self) -> int:
        self._number += 1
        return self._number - 1


class Keys13(Keys):
    """TLS 1.3: made from a traffic secret, and replaced by a KeyUpdate."""

    def __init__(self, secret: bytes) -> None:
        super().__init__()
        self._secret = secret
        self._install()

    def _install(self) -> None:
        self._number = 0
        self._cipher = AESGCM(expand_label(self._secret, b"key", b"", KEY_BYTES))
        self._iv = int.from_bytes(expand_label(self._secret, b"iv", b"", NONCE_BYTES))

    def rotate(self) -> None:
        """The next generation, as a KeyUpdate says (RFC 8446 §7.2)."""
        self._secret = expand_label(self._secret, b"traffic upd", b"", SECRET_BYTES)
        self._install()

    def protect(
        self, content_type: int, data: bytes, *, padding: int = 0, outer: int | None = None
    ) -> bytes:
        inner = data + bytes([content_type]) + bytes(padding)
        head = bytes([APPLICATION if outer is None else outer]) + LEGACY_VERSION
        head += struct.pack("!H", len(inner) + TAG_BYTES)
        return head + self._cipher.encrypt(self._nonce(), inner, head)

    def unprotect(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        inner = self._cipher.decrypt(self._nonce(), body, head).rstrip(b"\0")
        return inner[-1], inner[:-1]

    def _nonce(self) -> bytes:
        return (self._iv ^ self._next_number()).to_bytes(NONCE_BYTES)


class Keys12(Keys):
    """TLS 1.2 with AES-GCM (RFC 5288 §3): the second half of a nonce travels with the record."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        super().__init__()
        self._cipher = AESGCM(key)
        self._salt = salt

    def protect(
        self, content_type: int, data: bytes, *, padding: int = 0, outer: int | None = None
    ) -> bytes:
        assert not padding, "TLS 1.2 with AES-GCM has none"
        number = struct.pack("!Q", self._next_number())
        additional = self._additional(number, bytes([content_type]) + LEGACY_VERSION, len(data))
        sealed = self._cipher.encrypt(self._salt + number, data, additional)
        return record(content_type if outer is None else outer, number + sealed)

    def unprotect(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        number = struct.pack("!Q", self._next_number())
        explicit, sealed = body[:8], body[8:]
        additional = self._additional(number, head[:3], len(sealed) - TAG_BYTES)
        return head[0], self._cipher.decrypt(self._salt + explicit, sealed, additional)

    @staticmethod
    def _additional(number: bytes, head: bytes, length: int) -> bytes:
        return number + head + struct.pack("!H", length)
