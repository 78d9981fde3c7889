"""The HTTP phase with its gates in place: any bytes, in any pieces, answered once and no further.

The transport is a fake one; h11, the gates and the handshake are what a relay has.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network

import h11
import wsproto

from fastrelay.config.settings import Network
from fastrelay.http.client_address import forwarded_for, socket_peer
from fastrelay.http.connection import HttpProtocol, Route, Site, any_host
from fastrelay.http.exchange import Exchange
from fastrelay.http.handshake import switch_protocols
from fastrelay.log import Log
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.policy.pending import PendingConnections
from fastrelay.policy.token_buckets import TokenBuckets
from fastrelay.protocol.required_headers import REQUIRED
from fastrelay.server.admitted import Admitted, Role
from fastrelay.server.endpoints import Endpoint, observe_first_status
from fastrelay.server.healthz import healthz
from tests.fuzz.chunks import cut
from tests.support.clock import Loop
from tests.support.newcomers import unhurried

WORDS = (
    *(b"GET /v1/server HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\n", b"HEAD ", b"CONNECT ", b"PRI "),
    *(b"Host: a\r\n", b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n", b"keep-alive, "),
    *(b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"),
    *(b"X-Pyrycode-Server: s\r\n", b"X-Pyrycode-Version: 1\r\n", b"X-Pyrycode-Token: t\r\n"),
    *(b"User-Agent: a\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"X-Forwarded-For: 10.0.0.1, ", b"[::1]:5", b"Expect: 100-continue\r\n", b" HTTP/1.0\r\n"),
    *(b"GET http://a/healthz HTTP/1.1\r\n", b"Host: [::1]:5\r\n", b"Host: a/b\r\n"),
    *(b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"Connection: close\r\n", b"/v1/client"),
)
PLAN_BYTES = 3
HEAD_BYTES = 500
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("192.0.2.0/24"))
GO_ON = {200, 404}
"""What may be followed by an answer to the next request."""
MALFORMED = {400, 414, 431, 501, 505}
"""What a head may be answered with that is no request."""
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Answer:
    """A response as it was written, its Date left out."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def closes(self) -> bool:
        options = b",".join(value for name, value in self.headers if name == b"connection")
        return b"close" in (option.strip() for option in options.lower().split(b","))


class Transport:
    """Keeps what is written, and lets nobody write who has hung up or handed it on."""

    def __init__(self) -> None:
        self.written = b""
        self.hung_up = self.handed_on = self.aborted = False

    def write(self, data: bytes) -> None:
        assert not self.hung_up
        assert not self.handed_on
        self.written += data

    def write_eof(self) -> None:
        assert not self.hung_up
        assert not self.handed_on
        self.hung_up = True

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


@dataclass
class Visit:
    """One connection, and what became of it."""

    transport: Transport = field(default_factory=Transport)
    requests: list[h11.Request] = field(default_factory=list)
    routed: int = 0
    statuses: list[int] = field(default_factory=list)
    turns: list[Callable[[], None]] = field(default_factory=list)
    upgraded: h11.Request | None = None
    early: bytes = b""

    def adopt(self, admitted: Admitted, refuse: object) -> None:
        """Where a connection would begin."""
        self.early = admitted.initial_data
        assert admitted.transport is self.transport  # type: ignore[comparison-overlap]
        switch_protocols(admitted.transport, admitted.accept_token, self.statuses.append)
        self.transport.handed_on = True
        self.upgraded = self.requests[-1]

    def observed(self, inner: Route) -> Route:
        """``inner``, with every first status noted."""
        noted = observe_first_status(self.statuses.append, inner)

        def route(exchange: Exchange) -> None:
            self.routed += 1
            noted(exchange)

        return route


def one_input(data: bytes) -> None:
    """A byte chooses the settings, three the pieces; the rest is what a client sends."""
    if len(data) < 1 + PLAN_BYTES:
        return
    plan, stream = data[1 : 1 + PLAN_BYTES], data[1 + PLAN_BYTES :]
    whole, pieces = visit(data[0], [stream]), visit(data[0], list(cut(plan, stream)))
    assert answers_of(whole) == answers_of(pieces)
    assert whole.early == pieces.early
    for visited in (whole, pieces):
        assert_answered_once(visited)
        if visited.upgraded is not None:
            assert_handshake(visited.upgraded, answers_of(visited)[-1])
            assert stream.endswith(visited.early)


def visit(choice: int, pieces: list[bytes]) -> Visit:
    """Let a connection send ``pieces``; then its time is up."""
    visited, pending, loop = Visit(), PendingConnections(9), Loop()
    wheel = TimerWheel(loop, 0.25)  # type: ignore[arg-type]
    protocol = HttpProtocol(site_for(choice, visited, pending, wheel, loop), "192.0.2.1")
    protocol.connection_made(visited.transport)  # type: ignore[arg-type]
    for piece in pieces:
        if visited.upgraded is None:
            protocol.data_received(piece)
            while visited.turns:
                visited.turns.pop()()
        else:
            visited.early += piece
    assert len(pending) == (visited.upgraded is None)
    loop.advance(10.0)
    assert visited.transport.aborted == (visited.upgraded is None)
    protocol.connection_lost(None)
    assert len(pending) == len(wheel) == 0
    return visited


def site_for(
    choice: int, visited: Visit, pending: PendingConnections, wheel: TimerWheel, loop: Loop
) -> Site:
    """What a listener serves, with some of its settings chosen."""
    networks: tuple[Network, ...] = TRUSTED if choice & 1 else ()
    resolver = forwarded_for(networks) if choice & 2 else socket_peer

    def client_address(peer: str, request: h11.Request) -> str:
        visited.requests.append(request)
        return resolver(peer, request)

    log = Log(lambda line: None, "error", flood_interval=0.0)
    buckets = TokenBuckets(1, 10.0, 10, loop.time) if choice & 4 else None

    def endpoint(role: Role) -> Endpoint:
        return Endpoint(
            role,
            buckets=buckets,
            is_capped=lambda exchange: True,
            has_room=lambda client, *, is_capped: not choice & 8,
            count_header_reject=lambda name: None,
            observe_duration=lambda seconds: None,
            adopt=visited.adopt,
            log=log,
        )

    routes: dict[str, Route] = {
        "/v1/server": endpoint(Role.BINARY),
        "/v1/client": endpoint(Role.PHONE),
        "/healthz": healthz(lambda: (0, 0), lambda: 0.0),
    }
    return Site(
        {path: visited.observed(route) for path, route in routes.items()},
        client_address,
        wheel,
        unhurried(visited.turns.append),
        head_bytes=HEAD_BYTES,
        head_timeout=5.0,
        linger=1.0,
        pending=pending,
        is_for_us=(lambda exchange: exchange.host == b"a") if choice & 16 else any_host,
    )


def answers_of(visited: Visit) -> list[Answer]:
    """Every response written, by the grammar alone."""
    rest, answers = visited.transport.written, []
    while rest:
        head, found, rest = rest.partition(b"\r\n\r\n")
        assert found
        first, *lines = head.split(b"\r\n")
        version, status, _ = first.split(b" ", 2)
        assert version == b"HTTP/1.1"
        pairs = [(name.lower(), value) for name, value in (line.split(b": ", 1) for line in lines)]
        length = int(dict(pairs).get(b"content-length", b"0"))
        # None but the answer to a HEAD leaves out the body it announces.
        length = 0 if rest.startswith(b"HTTP/1.1 ") else length
        headers = tuple(pair for pair in pairs if pair[0] != b"date")
        answers.append(Answer(int(status), headers, rest[:length]))
        rest = rest[length:]
    return answers


def assert_answered_once(visited: Visit) -> None:
    """An answer each, one first status each, and nothing behind a refusal."""
    answers = answers_of(visited)
    assert visited.routed == len(visited.statuses)
    assert len(answers) - len(visited.requests) in {0, 1}
    if len(answers) > len(visited.requests):
        assert answers[-1].status in MALFORMED
    for answer in answers[:-1]:
        assert answer.status in GO_ON
        assert not answer.closes
    for request in visited.requests[:-1]:
        assert not announces_body(request)
    assert visited.transport.hung_up == (bool(answers) and answers[-1].closes)
    if answers and answers[-1].status not in {*GO_ON, 101}:
        assert visited.transport.hung_up
    assert (visited.upgraded is not None) == (bool(answers) and answers[-1].status == 101)


def announces_body(request: h11.Request) -> bool:
    """Whether anything behind the head belongs to the request."""
    lengths = values_of(request, b"content-length")
    return bool(values_of(request, b"transfer-encoding")) or any(int(size) for size in lengths)


def values_of(request: h11.Request, name: bytes) -> list[bytes]:
    """The values of one header."""
    return [value for given, value in request.headers if given == name]


def assert_handshake(request: h11.Request, answer: Answer) -> None:
    """RFC 6455 §4.2.1, read once more; wsproto must accept it as well."""
    assert (request.method, request.http_version) == (b"GET", b"1.1")
    assert len(values_of(request, b"host")) == 1
    assert values_of(request, b"sec-websocket-version") == [b"13"]
    (key,) = values_of(request, b"sec-websocket-key")
    assert len(key) == 24
    assert len(base64.b64decode(key, validate=True)) == 16
    for name, token in ((b"upgrade", b"websocket"), (b"connection", b"upgrade")):
        listed = b",".join(values_of(request, name)).split(b",")
        assert token in [item.strip(b" \t").lower() for item in listed]
    assert not announces_body(request)
    path = request.target.partition(b"?")[0].decode()
    required = REQUIRED[path.rpartition("/")[2]]
    for name, limit, _, printable in required:
        (value,) = values_of(request, name)
        assert 0 < len(value) <= limit
        if printable:
            assert value.isascii()
            assert value.decode().isprintable()
    assert answer.headers == (
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-accept", base64.b64encode(hashlib.sha1(key + GUID).digest())),
    )
    # It says by raising what it refuses. Explained: it takes no list of protocols to upgrade to,
    # the last of several Connection headers, and no byte above ASCII in what it reads.
    own = {b"upgrade": b"websocket", b"connection": b"upgrade"}
    headers = [(name, value) for name, value in request.headers if name not in own]
    if all(value.isascii() for _, value in headers):
        oracle = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        oracle.initiate_upgrade_connection([*own.items(), *headers], path)
