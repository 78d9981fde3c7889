"""The rate limit of what has none of its own: plain requests, and TLS handshakes."""

from collections.abc import Callable

from fastrelay.address import bucket_key, is_local
from fastrelay.policy.token_buckets import TokenBuckets


class PlainRequests:
    """One bucket for each address, for plain requests and TLS handshakes together.

    Loopback and private addresses are free of it: health checks and proxies come from there, and a
    proxy would be one address for all of its clients.

    Args:
        buckets: ``None``: there is no limit.
        on_refusal: told the address and what was refused.

    Attributes:
        refused_requests: plain requests over the limit, answered with 429.
        refused_handshakes: TLS handshakes over the limit, dropped.
    """

    def __init__(
        self, buckets: TokenBuckets | None, on_refusal: Callable[[str, str], None]
    ) -> None:
        self._buckets = buckets
        self._on_refusal = on_refusal
        self.refused_requests = 0
        self.refused_handshakes = 0

    def request_wait(self, client: str) -> float:
        """Take a request of ``client``; returns 0.0, or the seconds until there will be one."""
        wait = self._wait(client)
        if wait:
            self.refused_requests += 1
            self._on_refusal(client, "plain requests")
        return wait

    def may_shake_hands(self, client: str) -> bool:
        """Take a TLS handshake of ``client``; returns whether there was one."""
        if self._wait(client):
            self.refused_handshakes += 1
            self._on_refusal(client, "TLS handshakes")
            return False
        return True

    def _wait(self, client: str) -> float:
        if self._buckets is None or is_local(client):
            return 0.0
        return self._buckets.take(bucket_key(client))
