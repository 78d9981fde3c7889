"""Answers HTTP-01 challenges (RFC 8555 §8.3): the CA asks for a path, we show what we were told."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus

from fastrelay.http.connection import Route
from fastrelay.http.exchange import Exchange
from fastrelay.http.responses import Response

_TYPE = (b"Content-Type", b"application/octet-stream")


class ChallengeResponder(Mapping[str, Route]):
    """Routes by path that come and go: those of the challenges being validated now.

    Setting and removing one is a single step, so the thread that talks to the CA may do it while
    the loop serves.
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
        """Answer ``path`` with ``content`` until :meth:`remove`."""
        response = Response(HTTPStatus.OK, (_TYPE,), content)

        def route(exchange: Exchange) -> None:
            exchange.respond(response)

        self._routes[path] = route

    def remove(self, path: str) -> None:
        """Answer ``path`` with 404 again."""
        self._routes.pop(path, None)
