"""The waker of a worker: it hands wakes to the process that sends them."""

from collections.abc import Callable

from fastrelay.log import Log
from fastrelay.policy.counters.wakes import Outcome, WakeCounts
from fastrelay.push.fingerprint import Fingerprints
from fastrelay.push.waker import TOO_MANY, WakeRejected, device_token_of, log_dropped


class ForwardedWaker:
    """Hands wakes to the process that sends those of the whole relay, and keeps their limits.

    Args:
        forward: hands over server-id, the binary's connection id and the device token; returns
            whether there was room for them.
        counts: where wakes are counted that end here.
        fingerprints: those of the process that sends.
    """

    in_flight = 0

    def __init__(
        self,
        forward: Callable[[str, str, str], bool],
        counts: WakeCounts,
        log: Log,
        fingerprints: Fingerprints,
    ) -> None:
        self._forward = forward
        self._counts = counts
        self._log = log
        self._fingerprints = fingerprints

    def wake(self, server_id: str, binary_conn_id: str, request: bytes) -> None:
        try:
            device_token = device_token_of(request)
        except WakeRejected as reason:
            self._counts.count(Outcome.DROPPED)
            log_dropped(self._log, server_id, binary_conn_id, str(reason))
            return
        if not self._forward(server_id, binary_conn_id, device_token):
            self._counts.count(Outcome.DROPPED)
            fingerprint = self._fingerprints.of(device_token)
            log_dropped(self._log, server_id, binary_conn_id, TOO_MANY, fingerprint)

    def sweep(self) -> None: ...
    async def stop(self) -> None: ...
