"""The rate limit of plain requests and TLS handshakes."""

from collections.abc import Callable

from fastrelay.address import bucket_key, is_local
from fastrelay.policy.counters.tallies import Tallies
from fastrelay.policy.token_buckets import Buckets


class PlainRequests:
    """One bucket for each address, for plain requests and TLS handshakes together.

    Loopback and private addresses are exempt, because health checks and proxies connect from there.
    All clients of a proxy would share the limit of its address.

    Args:
        buckets: ``None``: there is no limit.
        on_refusal: called with the address and what was refused.
        tallies: where refusals are counted.
    """

    def __init__(
        self,
        buckets: Buckets | None,
        on_refusal: Callable[[str, str], None],
        tallies: Tallies | None = None,
    ) -> None:
        self._buckets = buckets
        self._on_refusal = on_refusal
        self._tallies = tallies or Tallies()

    def request_wait(self, client: str) -> float:
        """Take a request of ``client``; returns 0.0, or the seconds until there will be one."""
        wait = self._wait(client)
        if wait:
            self._tallies.plain_requests += 1
            self._on_refusal(client, "plain requests")
        return wait

    def may_shake_hands(self, client: str) -> bool:
        """Take a TLS handshake of ``client``; returns whether there was one."""
        if self._wait(client):
            self._tallies.tls_handshakes += 1
            self._on_refusal(client, "TLS handshakes")
            return False
        return True

    def _wait(self, client: str) -> float:
        if self._buckets is None or is_local(client):
            return 0.0
        return self._buckets.take(bucket_key(client))
