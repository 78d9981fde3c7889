"""``GET /healthz``: is it up, and how much is connected."""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from fastrelay import __version__
from fastrelay.http.connection import Route
from fastrelay.http.exchange import Exchange
from fastrelay.http.responses import GET_OR_HEAD_ONLY, Response

PATH: Final = "/healthz"


def healthz(connected: Callable[[], tuple[int, int]], uptime: Callable[[], float]) -> Route:
    """The route; keys and their order are an interface.

    Args:
        connected: returns the numbers of binaries and of phones.
        uptime: in seconds.
    """

    def route(exchange: Exchange) -> None:
        if exchange.request.method not in {b"GET", b"HEAD"}:
            exchange.respond(GET_OR_HEAD_ONLY)
            return
        binaries, phones = connected()
        body = {
            "status": "ok",
            "version": __version__,
            "connected_binaries": binaries,
            "connected_phones": phones,
            "uptime_seconds": int(uptime()),
        }
        exchange.respond(
            Response(
                HTTPStatus.OK,
                (
                    (b"Content-Type", b"application/json; charset=utf-8"),
                    (b"Cache-Control", b"no-store"),
                ),
                json.dumps(body, separators=(",", ":")).encode(),
            )
        )

    return route
