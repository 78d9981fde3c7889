"""``GET /metrics``, on the loopback listener only."""

from http import HTTPStatus

from prometheus_client import CollectorRegistry

from fastrelay.http.connection import Route
from fastrelay.http.exchange import Exchange
from fastrelay.http.responses import GET_OR_HEAD_ONLY, Response
from fastrelay.metrics.exposition import render


def metrics_page(registry: CollectorRegistry) -> Route:
    """The route; the Accept header chooses between text and OpenMetrics."""

    def route(exchange: Exchange) -> None:
        if exchange.request.method not in {b"GET", b"HEAD"}:
            exchange.respond(GET_OR_HEAD_ONLY)
            return
        accept = b",".join(exchange.header(b"accept")).decode("latin-1")
        body, content_type = render(registry, accept)
        headers = ((b"Content-Type", content_type.encode()),)
        exchange.respond(Response(HTTPStatus.OK, headers, body))

    return route
