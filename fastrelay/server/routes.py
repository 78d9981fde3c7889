"""The public routes: connects the endpoints with their observers and the owner."""

from collections.abc import Callable, Mapping
from typing import Final

from fastrelay.http.connection import Route
from fastrelay.http.exchange import Exchange
from fastrelay.log import Log
from fastrelay.policy.caps import LiveConnections
from fastrelay.policy.token_buckets import Buckets
from fastrelay.routing.router import Router
from fastrelay.server.admitted import Role
from fastrelay.server.endpoints import Endpoint, count_denials, observe_first_status
from fastrelay.server.machine import Alone, Counts, Machine
from fastrelay.server.owner import Owner, UpgradeObserver
from fastrelay.websocket.connection import Connection
from fastrelay.websocket.context import ConnectionContext

ENDPOINTS: Final = {f"/v1/{role.value}": role for role in Role}


def public_routes(
    router: Router,
    context: ConnectionContext,
    live: LiveConnections[Connection],
    buckets: Buckets | None,
    is_capped: Callable[[Exchange], bool],
    counts: Counts,
    log: Log,
    send_buffers: Mapping[Role, int],
    machine: Machine = Alone(),  # noqa: B008  # it has no state
) -> dict[str, Route]:
    """``/v1/server`` and ``/v1/client``; ``buckets`` are ``None`` without a rate limit.

    For ``send_buffers`` see :class:`fastrelay.server.owner.Owner`.
    """
    events, durations = counts.upgrades, counts.counters.durations
    observers = {
        Role.BINARY: UpgradeObserver(
            count_denials(events.server_rate_limit_deny), durations.server.observe
        ),
        Role.PHONE: UpgradeObserver(
            count_denials(events.client_rate_limit_deny), durations.client.observe
        ),
    }
    adopt = machine.route(Owner(router, context, live, observers, send_buffers))

    def route(role: Role) -> Route:
        first_status, observe_duration = observers[role]
        endpoint = Endpoint(
            role,
            buckets=buckets,
            is_capped=is_capped,
            has_room=live.has_room,
            count_header_reject=_header_counter(role, counts),
            observe_duration=observe_duration,
            adopt=adopt,
            log=log,
        )
        return observe_first_status(first_status, endpoint)

    return {path: route(role) for path, role in ENDPOINTS.items()}


def _header_counter(role: Role, counts: Counts) -> Callable[[str], None]:
    """Counts a refusal by the header gate, for the outcome of the attempt and by header."""
    events, headers = counts.upgrades, counts.counters.refused.headers
    is_phone = role is Role.PHONE
    count_outcome = events.client_header_reject if is_phone else events.server_header_reject

    def count(name: str) -> None:
        count_outcome()
        headers.add((role.value, name))

    return count
