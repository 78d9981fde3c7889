"""What a relay shares with the other workers of its machine; there may be no other worker."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Protocol

from fastrelay.config.settings import Limits, Settings
from fastrelay.http.connection import Route
from fastrelay.http.responses import Response
from fastrelay.log import LineCounts, Log
from fastrelay.policy.caps import Others
from fastrelay.policy.counters import Counters, Gauges
from fastrelay.policy.counters.tallies import Connected
from fastrelay.policy.counters.wakes import WakeCounts
from fastrelay.policy.held_bytes import HeldBytes
from fastrelay.policy.token_buckets import Buckets, TokenBuckets
from fastrelay.push.fingerprint import Fingerprints
from fastrelay.push.waker import StoppableWaker, make_waker
from fastrelay.routing.router import RegistrationEvents
from fastrelay.server.admitted import Admitted, Role
from fastrelay.server.owner import Owner

Refuse = Callable[[Response], None]
"""Answers an admitted request with a refusal after all, and ends its connection."""

Adopt = Callable[[Admitted, Refuse], None]
"""Takes over an admitted request for the owner of its server-id."""


class UpgradeEvents(RegistrationEvents, Protocol):
    """Counts the outcomes of upgrade attempts; one method is called once for each."""

    def server_header_reject(self) -> None:
        """A required header was missing or bad on ``/v1/server``: HTTP 400."""

    def client_header_reject(self) -> None:
        """The same on ``/v1/client``."""

    def server_rate_limit_deny(self) -> None:
        """The rate limit refused an attempt on ``/v1/server``: HTTP 429."""

    def client_rate_limit_deny(self) -> None:
        """The same on ``/v1/client``."""


class Counts(Protocol):
    """Where a relay counts."""

    @property
    def upgrades(self) -> UpgradeEvents:
        """Upgrade attempts and failed registrations."""

    @property
    def counters(self) -> Counters:
        """Everything else."""

    @property
    def gauges(self) -> Gauges:
        """Current numbers."""


class Limit(Enum):
    """A rate limit of addresses."""

    UPGRADES = "upgrades"
    PLAIN = "plain"


def send_buffers(limits: Limits) -> dict[Role, int]:
    """The bytes that the kernel may take for a peer of each role; 0: it chooses."""
    return {Role.PHONE: limits.phone_send_buffer, Role.BINARY: limits.binary_send_buffer}


class Machine(Protocol):
    """The other workers of this machine, as one relay sees them.

    Attributes:
        others: counts their connections; ``None``: there are none.
    """

    others: Others | None

    def make_buckets(
        self, limit: Limit, burst: int, refill: float, capacity: int, clock: Callable[[], float]
    ) -> Buckets:
        """The buckets of a rate limit; see :class:`TokenBuckets`."""

    def make_waker(self, settings: Settings, counts: WakeCounts, log: Log) -> StoppableWaker:
        """What sends wakes."""

    def share_budget(self, held: HeldBytes) -> None:
        """Share the budget of held bytes with the other workers."""

    def expose(
        self,
        counts: Counts,
        held: HeldBytes,
        log_lines: Callable[[], LineCounts],
        certificate_expiry: Callable[[], float] | None,
        *,
        has_push: bool,
    ) -> Mapping[str, Route]:
        """Show the state of the relay; returns the routes of its metrics listener.

        Args:
            certificate_expiry: returns seconds since the epoch; ``None`` without TLS.
        """

    def route(self, owner: Owner) -> Adopt:
        """The function that takes an admitted request to its owner; ``owner`` is the one here."""

    def connected(self, own: Connected) -> tuple[int, int]:
        """The connected binaries and phones of all workers; ``own`` are those of this one."""

    def uptime(self, since: float, now: float) -> float:
        """Seconds since the start of all of it; this relay was started at ``since``."""


class Alone:
    """There is no other worker: one process is the whole relay."""

    others: Others | None = None

    def make_buckets(
        self, limit: Limit, burst: int, refill: float, capacity: int, clock: Callable[[], float]
    ) -> Buckets:
        return TokenBuckets(burst, refill, capacity, clock)

    def make_waker(self, settings: Settings, counts: WakeCounts, log: Log) -> StoppableWaker:
        return make_waker(settings, counts, log, Fingerprints())

    def share_budget(self, held: HeldBytes) -> None: ...

    def expose(
        self,
        counts: Counts,
        held: HeldBytes,
        log_lines: Callable[[], LineCounts],
        certificate_expiry: Callable[[], float] | None,
        *,
        has_push: bool,
    ) -> Mapping[str, Route]:
        # Imported here, because a worker imports this module, and exposes nothing itself.
        from fastrelay.metrics import Metrics
        from fastrelay.server.exposed import expose

        assert isinstance(counts, Metrics)
        return expose(counts, held, log_lines, certificate_expiry, has_push=has_push)

    def route(self, owner: Owner) -> Adopt:
        adopt = owner.adopt
        return lambda admitted, refuse: adopt(admitted)

    def connected(self, own: Connected) -> tuple[int, int]:
        return own.binaries, own.phones

    def uptime(self, since: float, now: float) -> float:
        return now - since
