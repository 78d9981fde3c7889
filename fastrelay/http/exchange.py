"""One request and its response: the argument of a route."""

import asyncio
import socket
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

import h11

from fastrelay.http.responses import Response
from fastrelay.http.status import StatusHook, write_status
from fastrelay.http.target import Target, read_target

_MALFORMED = Target("", b"")


class Detached(NamedTuple):
    """A connection that HTTP has given up.

    Attributes:
        sock: the socket from which the transport was made, if it was made from one.
        initial_data: the bytes that came behind the request head.
    """

    transport: asyncio.Transport
    sock: socket.SocketType | None
    initial_data: bytes


class Exchange:
    """One request being served. It ends with a response, or when its transport is detached.

    Attributes:
        request: the request head.
        path, host: see :class:`fastrelay.http.target.Target`.
        client: the address of the client.
        peer: the address of the other end of the connection, which may be a proxy.
        started_at: :func:`time.perf_counter` at the accept, or at the end of the request before.
        on_first_status: called with the first status written for this request.
    """

    def __init__(
        self,
        request: h11.Request,
        client: str,
        peer: str,
        transport: asyncio.Transport,
        http: h11.Connection,
        detach: Callable[[], Detached],
        *,
        started_at: float,
        is_last: bool = False,
        take_back: Callable[[], None] = lambda: None,
    ) -> None:
        self.request = request
        self.client = client
        self.peer = peer
        self.started_at = started_at
        self.on_first_status: StatusHook | None = None
        self.finished = False
        self._transport = transport
        self._http = http
        self._detach = detach
        self._is_last = is_last
        self._take_back = take_back
        # About a dozen headers of a request are looked up, and h11 loops over all for each.
        fields = request.headers.raw_items()
        self._headers = {name.lower(): [value] for name, value in fields}
        if len(self._headers) < len(fields):  # one was given twice
            self._headers = {}
            for name, value in fields:
                self._headers.setdefault(name.lower(), []).append(value)
        target = read_target(request.target, self.header(b"host"))
        self._is_malformed = target is None
        self.path, self.host = target or _MALFORMED

    @property
    def has_body(self) -> bool:
        """Whether the head announces a body, which is never read (RFC 9112 §6.3).

        The head alone decides, not what has come behind it: chunks may turn out to hold nothing.
        """
        lengths = self.header(b"content-length")
        return b"transfer-encoding" in self._headers or any(int(length) for length in lengths)

    @property
    def protocol_error(self) -> HTTPStatus | None:
        """The status for a request that h11 accepts and the relay refuses, otherwise ``None``.

        The relay refuses other major versions, invalid hosts, and a body whose length is given in
        two ways, because a proxy in front of the relay might choose the other way (RFC 9112 §2.5,
        §3.2, §6.3).
        """
        if not self.request.http_version.startswith(b"1."):
            return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
        if self._is_malformed:
            return HTTPStatus.BAD_REQUEST
        if b"transfer-encoding" in self._headers and b"content-length" in self._headers:
            return HTTPStatus.BAD_REQUEST
        return None

    def header(self, name: bytes) -> list[bytes]:
        """Every value of the header ``name`` (lower case), in order."""
        return self._headers.get(name, [])

    def respond(self, response: Response) -> None:
        """Write a whole response, which ends the exchange.

        The response says whether the connection ends with it. Otherwise a client could send another
        request, and could not tell whether it was served.
        """
        closes = response.close or self._is_last or self.has_body
        data = render(self._http, response, self.request.method, closes=closes)
        hook = None if self.finished else self.on_first_status
        write_status(self._transport, response.status, data, hook)
        self.finished = True

    def detach(self) -> Detached:
        """Detach the transport from HTTP; the caller owns it now and has to write the response."""
        self.finished = True
        return self._detach()

    def refuse_detached(self, response: Response) -> None:
        """Write a response after all, although the transport was detached, and end the connection.

        Nothing may have been written to the transport since, and it still has its protocol.
        """
        self.finished = False
        self.respond(response)
        self._take_back()


def render(
    http: h11.Connection, response: Response, method: bytes = b"GET", *, closes: bool = True
) -> bytes:
    """A response's bytes, framed by ``http``.

    Args:
        method: that of the request; the answer to HEAD leaves out the body.
        closes: whether the connection ends with it.
    """
    headers = [
        *response.headers,
        (b"Content-Length", b"%d" % len(response.body)),
        (b"Date", formatdate(usegmt=True).encode()),
    ]
    options = (*response.connection, b"close") if closes else response.connection
    if options:
        headers.append((b"Connection", b", ".join(options)))
    head = h11.Response(
        status_code=response.status, headers=headers, reason=response.status.phrase.encode()
    )
    data = http.send(head) or b""
    if method != b"HEAD":
        data += http.send(h11.Data(data=response.body)) or b""
    return data + (http.send(h11.EndOfMessage()) or b"")
