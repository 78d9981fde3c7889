"""Which worker owns which server-id: a keyed hash alone decides.

Clients choose server-ids, so without a secret key they could choose ids that all have one owner.
See ``docs/decisions/0013-owner-by-keyed-hash.md``.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Final

KEY_BYTES: Final = 16

_REMEMBERED: Final = 256
"""Texts whose hashes are remembered: an upgrade hashes one address several times."""


class KeyedHash:
    """Hashes text with a secret key.

    Args:
        key: :data:`KEY_BYTES` random bytes, the same in all processes of a relay.
    """

    def __init__(self, key: bytes) -> None:
        new = blake2b(key=key, digest_size=16).copy

        @lru_cache(_REMEMBERED)
        def remembered(text: str) -> int:
            hasher = new()
            hasher.update(text.encode())
            return int.from_bytes(hasher.digest(), "little")

        self._remembered = remembered

    def of(self, text: str) -> int:
        """A number of 128 bits."""
        return self._remembered(text)

    def places(self, text: str, count: int) -> set[int]:
        """The two places of ``text`` in a table of ``count``, a power of two; rarely one."""
        number = self.of(text)
        return {number & (count - 1), (number >> 32) & (count - 1)}


def owner_of(server_id: str, keyed: KeyedHash, workers: int) -> int:
    """The worker, from 0 to ``workers`` - 1, that owns a server-id."""
    return (keyed.of(server_id) >> 64) % workers
