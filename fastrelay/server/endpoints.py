"""The public routes: from a request that passed the gates to a session on a live connection."""

from collections.abc import Callable

from fastrelay.http.connection import Route
from fastrelay.http.exchange import Exchange
from fastrelay.log import Log
from fastrelay.metrics import Metrics
from fastrelay.policy.caps import LiveConnections
from fastrelay.policy.token_buckets import TokenBuckets
from fastrelay.routing.router import Router
from fastrelay.server.gates import (
    CLIENT_HEADERS,
    SERVER_HEADERS,
    connection_cap,
    observe_status,
    on_rate_limit_deny,
    rate_limit,
    timed,
    upgrade,
)
from fastrelay.websocket.connection import Connection
from fastrelay.websocket.context import ConnectionContext, SentCounter
from fastrelay.websocket.handler import Handler

MAX_DEVICE_NAME = 128
"""Characters of a device name that are logged."""


class Endpoints:
    """Makes the routes of ``/v1/server`` and ``/v1/client``; what they let in lives on its own."""

    def __init__(
        self,
        router: Router,
        context: ConnectionContext,
        live: LiveConnections[Connection],
        buckets: TokenBuckets | None,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._router = router
        self._context = context
        self._counts = router.context.counters.frames
        self._live = live
        self._buckets = buckets
        self._metrics = metrics
        self._log = log

    def routes(self) -> dict[str, Route]:
        """The two endpoints, each behind all gates."""
        events, durations = self._metrics.upgrades, self._metrics.counters.durations
        server = upgrade(SERVER_HEADERS, events.server_header_reject, self._admit_binary)
        client = upgrade(CLIENT_HEADERS, events.client_header_reject, self._admit_phone)
        return {
            "/v1/server": timed(
                durations.server.observe, self._gated(events.server_rate_limit_deny, server)
            ),
            "/v1/client": timed(
                durations.client.observe, self._gated(events.client_rate_limit_deny, client)
            ),
        }

    def _gated(self, count_deny: Callable[[], None], inner: Route) -> Route:
        capped = connection_cap(self._live.has_room, self._log, inner)
        limited = rate_limit(self._buckets, self._log, capped)
        return observe_status(on_rate_limit_deny(count_deny), limited)

    def _admit_binary(self, exchange: Exchange, headers: dict[bytes, str], head: bytes) -> None:
        binary = self._router.new_binary(
            headers[b"x-pyrycode-server"], headers[b"x-pyrycode-version"], exchange.client or ""
        )
        sent = self._counts.phone_to_binary
        binary.connection, initial_data = self._connect(exchange, head, binary, sent)
        self._router.admit_binary(binary, initial_data)

    def _admit_phone(self, exchange: Exchange, headers: dict[bytes, str], head: bytes) -> None:
        phone = self._router.new_phone(headers[b"x-pyrycode-server"])
        sent = self._counts.binary_to_phone
        names = exchange.header(b"x-pyrycode-device-name") or [b""]
        device_name = names[0].decode(errors="replace")[:MAX_DEVICE_NAME]
        phone.connection, initial_data = self._connect(exchange, head, phone, sent)
        self._router.admit_phone(phone, device_name, exchange.client or "", initial_data)

    def _connect(
        self, exchange: Exchange, head: bytes, handler: Handler, sent: SentCounter
    ) -> tuple[Connection, bytes]:
        transport, initial_data = exchange.switch_protocols(head)
        connection = Connection(transport, handler, self._context, sent)
        self._live.add(connection, exchange.client or "")
        return connection, initial_data
