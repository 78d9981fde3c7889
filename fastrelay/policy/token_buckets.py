"""Token buckets by key, in one float each.

A bucket of ``burst`` tokens that regains one every ``refill`` seconds is the same as a clock
that may run at most ``burst * refill`` ahead of now, and that each token moves on by ``refill``
(the virtual scheduling form of the generic cell rate algorithm). A bucket whose clock is not
ahead is full, and a full bucket need not be remembered.
"""

from collections.abc import Callable


class TokenBuckets:
    """One bucket per key; memory is bounded by ``capacity`` keys.

    Args:
        burst: tokens a full bucket holds, at least 1.
        refill: seconds until one token comes back, more than 0.
        capacity: keys remembered; at that many the oldest is forgotten for a new one.
        clock: seconds, monotonic.
    """

    def __init__(
        self, burst: int, refill: float, capacity: int, clock: Callable[[], float]
    ) -> None:
        self._tolerance = (burst - 1) * refill
        self._refill = refill
        self._capacity = capacity
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        """Keys remembered."""
        return len(self._full_at)

    def take(self, key: str) -> float:
        """Take a token: 0.0 if there was one, else the seconds until there will be."""
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now)
        wait = full_at - now - self._tolerance
        if wait > 0:
            return wait
        if key not in self._full_at and len(self._full_at) >= self._capacity:
            del self._full_at[next(iter(self._full_at))]
        self._full_at[key] = full_at + self._refill
        return 0.0

    def sweep(self) -> None:
        """Forget full buckets."""
        now = self._clock()
        self._full_at = {key: at for key, at in self._full_at.items() if at > now}
