"""Answers the CA's HTTP-01 challenges (RFC 8555 §8.3) with the content that the issuer provides."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus

from fastrelay.http.connection import Route
from fastrelay.http.exchange import Exchange
from fastrelay.http.responses import Response

_TYPE = (b"Content-Type", b"application/octet-stream")


class ChallengeResponder(Mapping[str, Route]):
    """The routes of the challenges that the CA is validating now, by path.

    Adding and removing a route is one atomic operation on a dict. So the thread of the issuer may
    do it while the event loop reads the routes.
    """

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}

    def __getitem__(self, path: str) -> Route:
        return self._routes[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._routes)

    def __len__(self) -> int:
        return len(self._routes)

    def add(self, path: str, content: bytes) -> None:
        """Answer requests for ``path`` with ``content`` until :meth:`remove`."""
        response = Response(HTTPStatus.OK, (_TYPE,), content)

        def route(exchange: Exchange) -> None:
            exchange.respond(response)

        self._routes[path] = route

    def remove(self, path: str) -> None:
        """Answer requests for ``path`` with 404 again."""
        self._routes.pop(path, None)
