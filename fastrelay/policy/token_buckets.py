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
        self._slack = (burst - 1) * refill
        self._refill = refill
        self._capacity = capacity
        self._clock = clock
        self._ahead: dict[str, float] = {}

    def __len__(self) -> int:
        """Keys remembered."""
        return len(self._ahead)

    def take(self, key: str) -> float:
        """Take a token: 0.0 if there was one, else the seconds until there will be."""
        now = self._clock()
        ahead = max(self._ahead.get(key, now), now)
        wait = ahead - now - self._slack
        if wait > 0:
            return wait
        if key not in self._ahead and len(self._ahead) >= self._capacity:
            del self._ahead[next(iter(self._ahead))]
        self._ahead[key] = ahead + self._refill
        return 0.0

    def sweep(self) -> None:
        """Forget full buckets."""
        now = self._clock()
        self._ahead = {key: ahead for key, ahead in self._ahead.items() if ahead > now}
