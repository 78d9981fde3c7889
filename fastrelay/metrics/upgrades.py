"""The two upgrade families: the outcome of every attempt on ``/v1/server`` and ``/v1/client``.

``ws_upgrade_attempts_total`` advances once per terminal decision, and ``register_failures_total``
advances together with each rejection that has a kind. Each method stands for one event and
advances every counter of that event, so no caller can advance only one of the two.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

from fastrelay.config.metric_names import PREFIX
from fastrelay.policy.counters.upgrades import UpgradeEvents

_ENDPOINTS = ("server", "client")
_OUTCOMES = (
    "accept",
    "reject_headers",
    "reject_409",
    "reject_404",
    "reject_429",
    "reject_rate_limit",
)
_KINDS = ("no_server", "server_in_use", "phones_at_cap", "ratelimit")


class _Value:
    """The value of a counter whose events are counted elsewhere, too; it can still be increased."""

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self._here = 0.0

    def inc(self, amount: float) -> None:
        self._here += amount

    def get(self) -> float:
        return self._here + self._read()

    def get_exemplar(self) -> None:
        return None


class UpgradeMetrics:
    """The nine counted outcomes of an upgrade attempt, as 12 + 4 Prometheus counters.

    All 16 label combinations are created here, so that every series exists at 0 from the first
    scrape. Three of them never advance, because no method does it: server x reject_404,
    server x reject_429 and client x reject_409.

    Args:
        events: counted elsewhere, by other processes; their counts are added to the values.
    """

    def __init__(self, registry: CollectorRegistry, events: UpgradeEvents | None = None) -> None:
        attempts = Counter(
            f"{PREFIX}ws_upgrade_attempts",
            "WebSocket upgrade attempts by endpoint and outcome, one per terminal decision.",
            ["endpoint", "outcome"],
            registry=registry,
        )
        failures = Counter(
            f"{PREFIX}register_failures",
            "Refused registrations by kind, in lockstep with the matching reject outcomes.",
            ["kind"],
            registry=registry,
        )
        cells = {(e, o): attempts.labels(e, o) for e in _ENDPOINTS for o in _OUTCOMES}
        kinds = {kind: failures.labels(kind) for kind in _KINDS}
        self._server_accept = cells["server", "accept"]
        self._server_reject_headers = cells["server", "reject_headers"]
        self._server_reject_409 = cells["server", "reject_409"]
        self._server_reject_rate_limit = cells["server", "reject_rate_limit"]
        self._client_accept = cells["client", "accept"]
        self._client_reject_headers = cells["client", "reject_headers"]
        self._client_reject_404 = cells["client", "reject_404"]
        self._client_reject_429 = cells["client", "reject_429"]
        self._client_reject_rate_limit = cells["client", "reject_rate_limit"]
        self._no_server = kinds["no_server"]
        self._server_in_use = kinds["server_in_use"]
        self._phones_at_cap = kinds["phones_at_cap"]
        self._ratelimit = kinds["ratelimit"]
        if events is not None:
            self._add(events)

    def _add(self, events: UpgradeEvents) -> None:
        """Let each child's value be the sum of its own and of the cells of its events."""
        cells = events.cells
        for child, places in (
            (self._server_accept, (0,)),
            (self._server_reject_headers, (1,)),
            (self._server_reject_409, (2,)),
            (self._server_reject_rate_limit, (3,)),
            (self._client_accept, (4,)),
            (self._client_reject_headers, (5,)),
            (self._client_reject_404, (6,)),
            (self._client_reject_429, (7,)),
            (self._client_reject_rate_limit, (8,)),
            (self._server_in_use, (2,)),
            (self._ratelimit, (3, 8)),
            (self._no_server, (6,)),
            (self._phones_at_cap, (7,)),
        ):

            def read(places: tuple[int, ...] = places) -> int:
                return sum([cells[place] for place in places])

            child._value = _Value(read)

    def server_accept(self) -> None:
        """A binary's claim succeeded."""
        self._server_accept.inc()

    def server_header_reject(self) -> None:
        """A required header was missing or bad on ``/v1/server``: HTTP 400."""
        self._server_reject_headers.inc()

    def server_id_conflict(self) -> None:
        """A live binary holds the server-id: close 4409."""
        self._server_reject_409.inc()
        self._server_in_use.inc()

    def server_rate_limit_deny(self) -> None:
        """The rate limit refused an attempt on ``/v1/server``: HTTP 429."""
        self._server_reject_rate_limit.inc()
        self._ratelimit.inc()

    def client_accept(self) -> None:
        """A phone was registered."""
        self._client_accept.inc()

    def client_header_reject(self) -> None:
        """A required header was missing or bad on ``/v1/client``: HTTP 400."""
        self._client_reject_headers.inc()

    def client_no_server(self) -> None:
        """No binary holds the server-id: close 4404."""
        self._client_reject_404.inc()
        self._no_server.inc()

    def client_phones_at_cap(self) -> None:
        """The server-id has the maximum number of phones: close 4429."""
        self._client_reject_429.inc()
        self._phones_at_cap.inc()

    def client_rate_limit_deny(self) -> None:
        """The rate limit refused an attempt on ``/v1/client``: HTTP 429."""
        self._client_reject_rate_limit.inc()
        self._ratelimit.inc()
