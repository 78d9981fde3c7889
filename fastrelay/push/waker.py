"""Admits the wakes binaries ask for, and sees each to its end.

Nothing here waits in the frame path: a wake is admitted or dropped at once, and never queued.
"""

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from fastrelay.config.settings import Settings
from fastrelay.log import Log
from fastrelay.policy.counters.wakes import Outcome, WakeCounts
from fastrelay.policy.token_buckets import TokenBuckets
from fastrelay.routing.waker import Waker

if TYPE_CHECKING:
    from fastrelay.push.fcm import FcmSender

_MAX_TOKEN_CHARACTERS: Final = 4096
"""FCM's registration tokens have some 160."""


class StoppableWaker(Waker, Protocol):
    """What a relay asks of its waker besides."""

    @property
    def in_flight(self) -> int:
        """Sends that have not ended."""

    def sweep(self) -> None:
        """Forget server-ids that have asked for nothing lately."""

    async def stop(self) -> None:
        """End the sends that are left. Nobody may ask for a wake any more."""


class NoWaker:
    """:class:`Waker` of a relay without push: every wish is logged and dropped."""

    in_flight = 0

    def __init__(self, log: Log) -> None:
        self._log = log

    def wake(self, server_id: str, binary_conn_id: str, request: bytes) -> None:
        _log_dropped(self._log, server_id, binary_conn_id, "push is off")

    def sweep(self) -> None: ...
    async def stop(self) -> None: ...


class _Wake(msgspec.Struct):
    platform: str
    token: str


_decode_wake: Final = msgspec.json.Decoder(_Wake).decode


class _WakeRejected(ValueError):
    """Not a wake we can send. The text never quotes it."""


def _device_token(request: bytes) -> str:
    try:
        wake = _decode_wake(request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _WakeRejected("not a push_wake object") from None
    if wake.platform != "fcm":
        raise _WakeRejected("platform is not fcm")
    if not wake.token:
        raise _WakeRejected("empty token")
    if len(wake.token) > _MAX_TOKEN_CHARACTERS:
        raise _WakeRejected("token too long")
    return wake.token


class LimitedWaker:
    """:class:`Waker` with push on.

    Args:
        sender: sends; closed with this.
        buckets: the wakes each server-id may ask for.
        max_in_flight: sends under way at once, of all server-ids together.
        counts: counts every wake once, when it ends.
        log: where failures and drops go.
    """

    def __init__(
        self,
        sender: "FcmSender",
        buckets: TokenBuckets,
        max_in_flight: int,
        counts: WakeCounts,
        log: Log,
    ) -> None:
        self._sender = sender
        self._buckets = buckets
        self._max_in_flight = max_in_flight
        self._counts = counts
        self._log = log
        self._sends: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        return len(self._sends)

    def wake(self, server_id: str, binary_conn_id: str, request: bytes) -> None:
        try:
            device_token = _device_token(request)
            self._admit(server_id)
        except _WakeRejected as reason:
            self._counts.count(Outcome.DROPPED)
            _log_dropped(self._log, server_id, binary_conn_id, str(reason))
            return
        send = asyncio.create_task(self._send(server_id, binary_conn_id, device_token))
        self._sends.add(send)
        send.add_done_callback(self._sends.discard)

    def _admit(self, server_id: str) -> None:
        # The shared limit goes first: what it refuses costs the server-id nothing.
        if len(self._sends) >= self._max_in_flight:
            raise _WakeRejected("too many wakes in flight")
        if self._buckets.take(server_id):
            raise _WakeRejected("too many wakes for server-id")

    async def _send(self, server_id: str, binary_conn_id: str, device_token: str) -> None:
        outcome, err = Outcome.SEND_FAILED, "SHUTDOWN"
        try:
            outcome, err = await self._sender.send(device_token)
        except Exception as error:
            # Ours to mend. Its text may quote what was sent, so only its name is told.
            err = type(error).__name__
        finally:
            self._counts.count(outcome)
            if err:
                self._log.limited(
                    "push_wake_send_failed",
                    server_id=server_id,
                    binary_conn_id=binary_conn_id,
                    err=err,
                )

    def sweep(self) -> None:
        self._buckets.sweep()

    async def stop(self) -> None:
        for send in self._sends:
            send.cancel()
        await asyncio.gather(*self._sends, return_exceptions=True)
        await self._sender.close()


def _log_dropped(log: Log, server_id: str, binary_conn_id: str, why: str) -> None:
    log.limited(
        "binary_forwarder_push_wake_dropped",
        server_id=server_id,
        binary_conn_id=binary_conn_id,
        err=why,
    )


def make_waker(settings: Settings, counts: WakeCounts, log: Log) -> StoppableWaker:
    """The waker these settings ask for, in the running loop."""
    push = settings.push
    if push is None:
        return NoWaker(log)
    # Only now: a relay without push needs none of what these load.
    from fastrelay.push.access_token import AccessTokens
    from fastrelay.push.fcm import FcmSender
    from fastrelay.push.https import HttpsClient

    intervals, limits = settings.intervals, settings.limits
    clock = asyncio.get_running_loop().time
    client = HttpsClient(push.ca_file, intervals.push_call)
    tokens = AccessTokens(push.account, push.token_url, client, intervals.push_token_margin, clock)
    sender = FcmSender(client, tokens, push.endpoint, push.account.project_id)
    buckets = TokenBuckets(limits.push_burst, limits.push_refill, limits.buckets, clock)
    return LimitedWaker(sender, buckets, limits.push_in_flight, counts, log)
