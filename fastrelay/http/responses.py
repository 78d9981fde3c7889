"""HTTP responses, and the errors with which the admission gates refuse requests."""

from dataclasses import dataclass
from http import HTTPStatus

Header = tuple[bytes, bytes]

_PLAIN_TEXT: tuple[Header, ...] = (
    (b"Content-Type", b"text/plain; charset=utf-8"),
    (b"X-Content-Type-Options", b"nosniff"),
)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response.

    Attributes:
        close: no further request of the connection is served.
        connection: connection options, apart from that of ``close``.
    """

    status: HTTPStatus
    headers: tuple[Header, ...]
    body: bytes = b""
    close: bool = False
    connection: tuple[bytes, ...] = ()


def error(status: HTTPStatus, *headers: Header, close: bool = True, body: bytes = b"") -> Response:
    """An error response with the headers that all errors have, and ``headers``."""
    return Response(status, (*_PLAIN_TEXT, *headers), body, close=close)


BAD_REQUEST = error(HTTPStatus.BAD_REQUEST)
NOT_FOUND = error(HTTPStatus.NOT_FOUND, close=False)
MISDIRECTED_REQUEST = error(HTTPStatus.MISDIRECTED_REQUEST)
SERVICE_UNAVAILABLE = error(HTTPStatus.SERVICE_UNAVAILABLE)
GET_ONLY = error(HTTPStatus.METHOD_NOT_ALLOWED, (b"Allow", b"GET"))
GET_OR_HEAD_ONLY = error(HTTPStatus.METHOD_NOT_ALLOWED, (b"Allow", b"GET, HEAD"))
UPGRADE_REQUIRED = Response(
    HTTPStatus.UPGRADE_REQUIRED,
    (*_PLAIN_TEXT, (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13")),
    close=True,
    connection=(b"Upgrade",),
)


def bad_header(name: str, fault: str) -> Response:
    """The 400 for a header that an endpoint requires; the name is a constant of ours."""
    return error(HTTPStatus.BAD_REQUEST, body=f"{name.title()}: {fault}\n".encode())


def too_many_requests(wait: float) -> Response:
    """The 429, with the whole seconds to wait in ``Retry-After``."""
    seconds = max(1, int(-(-wait // 1)))
    return error(HTTPStatus.TOO_MANY_REQUESTS, (b"Retry-After", b"%d" % seconds))


def retry_later(seconds: int) -> Response:
    """A 503 with ``Retry-After``, for something that will be available again soon."""
    return error(HTTPStatus.SERVICE_UNAVAILABLE, (b"Retry-After", b"%d" % seconds))
