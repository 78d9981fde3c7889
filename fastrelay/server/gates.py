"""The gates that every upgrade attempt passes, each a route around the next.

    timed(…, observe_status(…, rate_limit(…, connection_cap(…, upgrade(…)))))

reads in the order of the admission table: whoever refuses first ends the request, and nothing
behind it is looked at.
"""

import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from fastrelay.address import bucket_key
from fastrelay.http.connection import Route
from fastrelay.http.exchange import Exchange, StatusHook
from fastrelay.http.handshake import Refused, accept_upgrade
from fastrelay.http.responses import BAD_REQUEST, SERVICE_UNAVAILABLE, too_many_requests
from fastrelay.log import Log
from fastrelay.policy.token_buckets import TokenBuckets

_PRINTABLE: Final = re.compile(rb"[ -~]+")


class Required(NamedTuple):
    """A header an endpoint insists on: once, not empty, printable ASCII, ``limit`` bytes.

    ``kept``: whether its value is passed on. A credential is looked at and let go.
    """

    name: bytes
    limit: int = 256
    kept: bool = True


SERVER_HEADERS: Final = (
    Required(b"x-pyrycode-server"),
    Required(b"x-pyrycode-version"),
    Required(b"user-agent", 1024, kept=False),
)
CLIENT_HEADERS: Final = (
    Required(b"x-pyrycode-server"),
    Required(b"x-pyrycode-token", 4096, kept=False),
    Required(b"user-agent", 1024, kept=False),
)


def timed(observe: Callable[[float], None], inner: Route) -> Route:
    """Tell ``observe`` how many seconds each request took from its beginning to its status."""

    def route(exchange: Exchange) -> None:
        inner(exchange)
        observe(time.perf_counter() - exchange.started_at)

    return route


def observe_status(hook: StatusHook, inner: Route) -> Route:
    """Let ``hook`` see the first status ``inner`` writes for each request."""

    def route(exchange: Exchange) -> None:
        exchange.on_first_status = hook
        inner(exchange)

    return route


def on_rate_limit_deny(count: Callable[[], None]) -> StatusHook:
    """A status hook that calls ``count`` for each 429."""

    def hook(status: int) -> None:
        if status == 429:
            count()

    return hook


def rate_limit(buckets: TokenBuckets | None, log: Log, inner: Route) -> Route:
    """Gate 2: a token per attempt from the client's bucket; ``None``: no limit.

    A client without a usable address is refused: it cannot be told from any other.
    """

    def route(exchange: Exchange) -> None:
        client = exchange.client
        wait = 1.0
        if client is not None:
            wait = 0.0 if buckets is None else buckets.take(bucket_key(client))
        if wait:
            exchange.respond(too_many_requests(wait))
            log.limited("rate_limited", remote=client or "", path=exchange.path)
        else:
            inner(exchange)

    return route


def connection_cap(has_room: Callable[[str], bool], log: Log, inner: Route) -> Route:
    """Gate 3: ``has_room`` tells whether one more connection of that address may live."""

    def route(exchange: Exchange) -> None:
        if has_room(exchange.client or ""):
            inner(exchange)
        else:
            exchange.respond(SERVICE_UNAVAILABLE)
            log.limited("conn_cap_reached", remote=exchange.client or "", path=exchange.path)

    return route


def upgrade(
    required: tuple[Required, ...],
    count_reject: Callable[[], None],
    admit: Callable[[Exchange, dict[bytes, str], bytes], None],
) -> Route:
    """Gates 4 and 5, then ``admit`` with the kept headers and the bytes of the 101 to write."""

    def route(exchange: Exchange) -> None:
        headers = _check_headers(exchange, required)
        if headers is None:
            exchange.respond(BAD_REQUEST)
            count_reject()
            return
        try:
            head = accept_upgrade(exchange)
        except Refused as refusal:
            exchange.respond(refusal.response)
            return
        admit(exchange, headers, head)

    return route


def _check_headers(exchange: Exchange, required: tuple[Required, ...]) -> dict[bytes, str] | None:
    """The kept values by name, or ``None`` if one is missing, twice there, or out of bounds."""
    kept = {}
    for name, limit, keep in required:
        values = exchange.header(name)
        if len(values) != 1 or len(values[0]) > limit or not _PRINTABLE.fullmatch(values[0]):
            return None
        if keep:
            kept[name] = values[0].decode("ascii")
    return kept
