"""Token buckets by key, each stored as one float: the time at which the bucket will be full.

This is the virtual scheduling form of the generic cell rate algorithm. In a bucket of ``burst``
tokens that regains one token every ``refill`` seconds, each token that is taken moves that time
on by ``refill``. A token is available while the time is at most ``(burst - 1) * refill`` ahead of
now. A bucket whose time has passed is full and need not be stored.
"""

from collections.abc import Callable
from typing import Final, Protocol

ROUNDING: Final = 1e-3
"""The part of a token that may be missing: sums of floats are rounded."""


class Buckets(Protocol):
    """One bucket for each key."""

    def take(self, key: str) -> float:
        """Take a token of ``key``.

        Returns 0.0 if a token was available, otherwise the seconds until one will be; then no token
        is taken.
        """

    def sweep(self) -> None:
        """Drop the keys whose buckets are full again."""


class TokenBuckets:
    """One bucket per key, for at most ``capacity`` keys.

    Args:
        burst: the tokens in a full bucket, at least 1.
        refill: the seconds until one token comes back, more than 0.
        capacity: the most keys stored. When a new key comes at that limit, the key that was stored
            first is dropped, which gives it a full bucket.
        clock: returns monotonic seconds.
    """

    def __init__(
        self, burst: int, refill: float, capacity: int, clock: Callable[[], float]
    ) -> None:
        self._tolerance = (burst - 1) * refill
        self._refill = refill
        self._rounding = refill * ROUNDING
        self._capacity = capacity
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        """The number of keys stored."""
        return len(self._full_at)

    def take(self, key: str) -> float:
        """Take a token of ``key``.

        Returns 0.0 if a token was available, otherwise the seconds until one will be; then no token
        is taken.
        """
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now)
        wait = full_at - now - self._tolerance
        if wait > self._rounding:
            return wait
        if key not in self._full_at and len(self._full_at) >= self._capacity:
            del self._full_at[next(iter(self._full_at))]
        self._full_at[key] = full_at + self._refill
        return 0.0

    def sweep(self) -> None:
        """Drop the keys whose buckets are full again."""
        now = self._clock()
        self._full_at = {key: at for key, at in self._full_at.items() if at > now}
