"""The public routes: from a request that passed the gates to a session on a live connection."""

from collections.abc import Callable

from fastrelay.http.connection import Route
from fastrelay.http.exchange import Exchange
from fastrelay.log import Log
from fastrelay.metrics import Metrics
from fastrelay.policy.caps import LiveConnections
from fastrelay.policy.token_buckets import TokenBuckets
from fastrelay.routing.binary import Binary
from fastrelay.routing.phone import Phone
from fastrelay.routing.router import Switchboard
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
from fastrelay.websocket.context import Conditions, SentCounter
from fastrelay.websocket.handler import Handler

MAX_DEVICE_NAME = 128
"""Characters of a device name that are logged."""


class Endpoints:
    """Makes the routes of ``/v1/server`` and ``/v1/client``; what they let in lives on its own."""

    def __init__(
        self,
        board: Switchboard,
        conditions: Conditions[Connection],
        live: LiveConnections[Connection],
        buckets: TokenBuckets | None,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._board = board
        self._conditions = conditions
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
        binary = Binary(
            headers[b"x-pyrycode-server"],
            headers[b"x-pyrycode-version"],
            exchange.client or "",
            self._board,
        )
        sent = self._board.counts.phone_to_binary
        binary.connection, early = self._connect(exchange, head, binary, sent)
        self._board.admit_binary(binary, early)

    def _admit_phone(self, exchange: Exchange, headers: dict[bytes, str], head: bytes) -> None:
        phone = Phone(headers[b"x-pyrycode-server"], self._board)
        sent = self._board.counts.binary_to_phone
        names = exchange.header(b"x-pyrycode-device-name") or [b""]
        device_name = names[0].decode(errors="replace")[:MAX_DEVICE_NAME]
        phone.connection, early = self._connect(exchange, head, phone, sent)
        self._board.admit_phone(phone, device_name, exchange.client or "", early)

    def _connect(
        self, exchange: Exchange, head: bytes, handler: Handler, sent: SentCounter
    ) -> tuple[Connection, bytes]:
        transport, early = exchange.switch_protocols(head)
        connection = Connection(transport, handler, self._conditions, sent)
        self._live.add(connection, exchange.client or "")
        return connection, early
