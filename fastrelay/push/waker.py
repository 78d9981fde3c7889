"""Admits the push wakes that binaries ask for, and sends them (protocol, push wake).

A wake is admitted or dropped at once and never queued, so the frame path does not wait for it.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from fastrelay.config.settings import Settings
from fastrelay.log import Log
from fastrelay.policy.counters.wakes import Outcome, WakeCounts
from fastrelay.policy.token_buckets import TokenBuckets
from fastrelay.push.fingerprint import Fingerprints
from fastrelay.routing.waker import Waker

if TYPE_CHECKING:
    from fastrelay.push.fcm import FcmSender

TOO_MANY: Final = "too many wakes in flight"

_MAX_TOKEN_CHARACTERS: Final = 4096
"""The longest device token accepted. FCM's registration tokens have about 160 characters."""


class StoppableWaker(Waker, Protocol):
    """A :class:`Waker` with the methods that the relay needs for its drain and its sweeps."""

    @property
    def in_flight(self) -> int:
        """The number of sends that have not ended."""

    def sweep(self) -> None:
        """Drop the rate limits of server-ids whose buckets are full again."""

    async def stop(self) -> None:
        """Cancel the sends that have not ended. No wake may be asked for after that."""


class NoWaker:
    """The :class:`Waker` of a relay without push: it logs and drops every wake."""

    in_flight = 0

    def __init__(self, log: Log) -> None:
        self._log = log

    def wake(self, server_id: str, binary_conn_id: str, request: bytes) -> None:
        log_dropped(self._log, server_id, binary_conn_id, "push is off")

    def sweep(self) -> None: ...
    async def stop(self) -> None: ...


class _Wake(msgspec.Struct):
    platform: str
    token: str


_decode_wake: Final = msgspec.json.Decoder(_Wake).decode


class WakeRejected(ValueError):
    """The wake is dropped. The text gives the reason and quotes nothing of the request."""


def device_token_of(request: bytes) -> str:
    """The device token that a ``push_wake`` object names.

    Raises:
        WakeRejected: there is none that a wake can be sent to.
    """
    try:
        wake = _decode_wake(request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise WakeRejected("not a push_wake object") from None
    if wake.platform != "fcm":
        raise WakeRejected("platform is not fcm")
    if not wake.token:
        raise WakeRejected("empty token")
    if len(wake.token) > _MAX_TOKEN_CHARACTERS:
        raise WakeRejected("token too long")
    return wake.token


class LimitedWaker:
    """The :class:`Waker` of a relay with push.

    Args:
        sender: sends the wakes; :meth:`stop` closes it.
        buckets: the rate limit of each server-id.
        max_in_flight: the most sends under way at once, of all server-ids together.
        counts: where each wake is counted once, when it ends.
        log: where the end of each wake is logged.
        fingerprints: names device tokens in the log.
    """

    def __init__(
        self,
        sender: "FcmSender",
        buckets: TokenBuckets,
        max_in_flight: int,
        counts: WakeCounts,
        log: Log,
        fingerprints: Fingerprints,
    ) -> None:
        self._sender = sender
        self._buckets = buckets
        self._max_in_flight = max_in_flight
        self._counts = counts
        self._log = log
        self._fingerprints = fingerprints
        self._sends: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        return len(self._sends)

    def wake(self, server_id: str, binary_conn_id: str, request: bytes) -> None:
        try:
            device_token = device_token_of(request)
        except WakeRejected as reason:
            self._drop(server_id, binary_conn_id, str(reason))
        else:
            self.wake_device(server_id, binary_conn_id, device_token)

    def wake_device(self, server_id: str, binary_conn_id: str, device_token: str) -> None:
        """Wake the device with this token, within the limits."""
        try:
            self._admit(server_id)
        except WakeRejected as reason:
            fingerprint = self._fingerprints.of(device_token)
            self._drop(server_id, binary_conn_id, str(reason), fingerprint)
            return
        send = asyncio.create_task(self._send(server_id, binary_conn_id, device_token))
        self._sends.add(send)
        send.add_done_callback(self._sends.discard)

    def _drop(self, server_id: str, binary_conn_id: str, why: str, fingerprint: str = "") -> None:
        self._counts.count(Outcome.DROPPED)
        log_dropped(self._log, server_id, binary_conn_id, why, fingerprint)

    def _admit(self, server_id: str) -> None:
        # The relay-wide limit comes first, so that a wake it refuses takes no token.
        if len(self._sends) >= self._max_in_flight:
            raise WakeRejected(TOO_MANY)
        if self._buckets.take(server_id):
            raise WakeRejected("too many wakes for server-id")

    async def _send(self, server_id: str, binary_conn_id: str, device_token: str) -> None:
        outcome, err, message_id = Outcome.SEND_FAILED, "SHUTDOWN", ""
        started_at = time.monotonic()
        try:
            outcome, err, message_id = await self._sender.send(device_token)
        except Exception as error:
            # A fault of the relay. The exception's text may quote what was sent, so only its type
            # is logged.
            err = type(error).__name__
        finally:
            self._counts.count(outcome)
            duration = round(time.monotonic() - started_at, 3)
            fingerprint = self._fingerprints.of(device_token)
            if err:
                self._log.limited(
                    "push_wake_send_failed",
                    server_id=server_id,
                    binary_conn_id=binary_conn_id,
                    token_fp=fingerprint,
                    duration=duration,
                    err=err,
                )
            else:
                self._log.limited(
                    "push_wake_sent",
                    level="info",
                    server_id=server_id,
                    binary_conn_id=binary_conn_id,
                    token_fp=fingerprint,
                    duration=duration,
                    fcm_message_id=message_id,
                )

    def sweep(self) -> None:
        self._buckets.sweep()

    async def stop(self) -> None:
        for send in self._sends:
            send.cancel()
        await asyncio.gather(*self._sends, return_exceptions=True)
        await self._sender.close()


def log_dropped(
    log: Log, server_id: str, binary_conn_id: str, why: str, fingerprint: str = ""
) -> None:
    """Log a wake that is not sent, and why; the text quotes nothing of it.

    Args:
        fingerprint: of the device token; empty if the wake names none that could be used.
    """
    if fingerprint:
        log.limited(
            "binary_forwarder_push_wake_dropped",
            server_id=server_id,
            binary_conn_id=binary_conn_id,
            token_fp=fingerprint,
            err=why,
        )
    else:
        log.limited(
            "binary_forwarder_push_wake_dropped",
            server_id=server_id,
            binary_conn_id=binary_conn_id,
            err=why,
        )


def make_waker(
    settings: Settings, counts: WakeCounts, log: Log, fingerprints: Fingerprints
) -> StoppableWaker:
    """The waker that ``settings`` ask for. It belongs to the running event loop."""
    push = settings.push
    if push is None:
        return NoWaker(log)
    # Imported here, because a relay without push may run without the extra.
    from fastrelay.push.access_token import AccessTokens
    from fastrelay.push.fcm import FcmSender
    from fastrelay.push.https import HttpsClient

    intervals, limits = settings.intervals, settings.limits
    clock = asyncio.get_running_loop().time
    client = HttpsClient(push.ca_file, intervals.push_call)
    tokens = AccessTokens(push.account, push.token_url, client, intervals.push_token_margin, clock)
    sender = FcmSender(client, tokens, push.endpoint, push.account.project_id)
    buckets = TokenBuckets(limits.push_burst, limits.push_refill, limits.buckets, clock)
    return LimitedWaker(sender, buckets, limits.push_in_flight, counts, log, fingerprints)
