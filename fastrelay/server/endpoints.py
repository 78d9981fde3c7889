"""The two public endpoints: gates 2 to 5 of the admission table, and the status observer.

Gate 1, a complete request head, is :mod:`fastrelay.http.connection`. Gate 6, the registry, is
behind the owner of the server-id (:mod:`fastrelay.server.owner`).
"""

import time
from collections.abc import Callable
from typing import Final, Protocol

from fastrelay.address import bucket_key
from fastrelay.http.connection import Route
from fastrelay.http.exchange import Exchange
from fastrelay.http.handshake import BadHandshake, check_handshake
from fastrelay.http.responses import SERVICE_UNAVAILABLE, bad_header, too_many_requests
from fastrelay.http.status import StatusHook
from fastrelay.log import Log
from fastrelay.policy.token_buckets import Buckets
from fastrelay.protocol.required_headers import REQUIRED
from fastrelay.server.admitted import Admitted, Role
from fastrelay.server.machine import Adopt
from fastrelay.server.required_headers import BadHeader, check_headers

MAX_DEVICE_NAME: Final = 128
"""Characters of a device name that are logged."""


def count_denials(count: Callable[[], None]) -> StatusHook:
    """A status hook that calls ``count`` for each 429."""

    def hook(status: int) -> None:
        if status == 429:
            count()

    return hook


def observe_first_status(hook: StatusHook, inner: Route) -> Route:
    """Let ``hook`` see the first status that is written for each request of ``inner``.

    The hook is outside the rate limiter, so that a refusal is counted by the status that the client
    gets.
    """

    def route(exchange: Exchange) -> None:
        exchange.on_first_status = hook
        inner(exchange)

    return route


class HasRoom(Protocol):
    """See :meth:`fastrelay.policy.caps.LiveConnections.has_room`."""

    def __call__(self, client: str, *, is_capped: bool) -> bool: ...


class Endpoint:
    """The route of ``/v1/server`` or ``/v1/client``.

    The first gate that refuses ends the request; later gates do not see it.

    Args:
        buckets: the buckets of the rate limit, one per address; ``None``: there is no limit.
        is_capped: returns whether the limits of addresses hold for the client of a request.
        has_room: returns whether the caps allow one more connection of an address.
        count_header_reject: called with the name of the header for each refusal by its gate.
        observe_duration: called with the seconds that each refusal took.
        adopt: answers an admitted request and takes over its transport.
    """

    def __init__(
        self,
        role: Role,
        *,
        buckets: Buckets | None,
        is_capped: Callable[[Exchange], bool],
        has_room: HasRoom,
        count_header_reject: Callable[[str], None],
        observe_duration: Callable[[float], None],
        adopt: Adopt,
        log: Log,
    ) -> None:
        self._role = role
        self._is_for_phones = role is Role.PHONE
        self._buckets = buckets
        self._is_capped = is_capped
        self._has_room = has_room
        self._required = REQUIRED[role.value]
        self._count_header_reject = count_header_reject
        self._observe_duration = observe_duration
        self._adopt = adopt
        self._log = log

    def __call__(self, exchange: Exchange) -> None:
        """Pass the request through the gates, and to ``adopt`` if none refuses it."""
        admitted = self._admit(exchange)
        if admitted is not None:
            self._adopt(admitted, exchange.refuse_detached)
        else:
            self._observe_duration(time.perf_counter() - exchange.started_at)

    def _admit(self, exchange: Exchange) -> Admitted | None:
        """Gates 2 to 5 in the order of the admission table; ``None``: one of them refused."""
        wait = self._seconds_to_wait(exchange.client)
        if wait:
            exchange.respond(too_many_requests(wait))
            self._log.limited("rate_limited", remote=exchange.client, path=exchange.path)
            return None
        if not self._has_room(exchange.client, is_capped=self._is_capped(exchange)):
            exchange.respond(SERVICE_UNAVAILABLE)
            self._log.limited("conn_cap_reached", remote=exchange.client, path=exchange.path)
            return None
        try:
            headers = check_headers(exchange, self._required)
        except BadHeader as bad:
            self._refuse_header(exchange, bad)
            return None
        try:
            accept_token = check_handshake(exchange)
        except BadHandshake as bad:
            exchange.respond(bad.response)
            return None
        transport, sock, initial_data = exchange.detach()
        return Admitted(
            role=self._role,
            server_id=headers[b"x-pyrycode-server"],
            version=headers.get(b"x-pyrycode-version", ""),
            device_name=_device_name(exchange) if self._is_for_phones else "",
            client=exchange.client,
            accept_token=accept_token,
            initial_data=initial_data,
            transport=transport,
            sock=sock,
            started_at=exchange.started_at,
        )

    def _refuse_header(self, exchange: Exchange, bad: BadHeader) -> None:
        exchange.respond(bad_header(bad.name, str(bad)))
        self._count_header_reject(bad.name)
        self._log.limited(
            "header_rejected",
            level="debug",
            remote=exchange.client,
            path=exchange.path,
            header=bad.name,
            err=str(bad),
        )

    def _seconds_to_wait(self, client: str) -> float:
        """Take a token; returns 0.0, or the seconds until the client may try again."""
        return 0.0 if self._buckets is None else self._buckets.take(bucket_key(client))


def _device_name(exchange: Exchange) -> str:
    names = exchange.header(b"x-pyrycode-device-name")
    return names[0].decode(errors="replace")[:MAX_DEVICE_NAME] if names else ""
