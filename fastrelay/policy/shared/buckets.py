"""Token buckets in shared memory, one for each address, whichever worker it connects to."""

from collections.abc import Callable, MutableSequence
from typing import Final

from fastrelay.policy.ownership import KeyedHash
from fastrelay.policy.token_buckets import ROUNDING

BUCKETS: Final = 1 << 20


class SharedTokenBuckets:
    """Token buckets as :class:`fastrelay.policy.token_buckets.TokenBuckets` has them.

    A key has two of :data:`BUCKETS` cells, and a token is refused only if both are empty. If a key
    had one cell, another address with the same cell could use up its tokens. If N workers take
    tokens of one key at the same moment, they may take up to N - 1 tokens too many.

    Args:
        full_at: one float for each bucket: the time at which it will be full.
        clock: returns seconds that all workers agree on.
    """

    def __init__(
        self,
        full_at: MutableSequence[float],
        burst: int,
        refill: float,
        keyed: KeyedHash,
        clock: Callable[[], float],
    ) -> None:
        self._full_at = full_at
        self._tolerance = (burst - 1) * refill
        self._refill = refill
        self._rounding = refill * ROUNDING
        self._keyed = keyed
        self._clock = clock

    def take(self, key: str) -> float:
        """Take a token of ``key``; see :meth:`TokenBuckets.take`."""
        now = self._clock()
        places = self._keyed.places(key, BUCKETS)
        wait = min([max(self._full_at[place], now) for place in places]) - now - self._tolerance
        if wait > self._rounding:
            return wait
        for place in places:
            full_at = max(self._full_at[place], now)
            if full_at - now - self._tolerance <= self._rounding:
                self._full_at[place] = full_at + self._refill
        return 0.0

    def sweep(self) -> None:
        """Do nothing: a bucket that is full again takes no memory of its own."""
