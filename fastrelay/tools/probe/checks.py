"""The probe's checks: named steps that share one session, and a result for each step.

A session opens four WebSockets: one of a binary, two of its phones, and one of a phone with an
unknown server-id. What is expected follows from the protocol, byte for byte. Nothing is printed
here.
"""

import asyncio
import contextlib
import json
import re
import secrets
import socket
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fastrelay import __version__
from fastrelay.tools.probe.client import (
    CloseReceived,
    ConnectionEnded,
    Endpoint,
    Incoming,
    TextReceived,
    Unexpected,
    WebSocket,
    get,
    unexpected_status,
)

_BOUNDARIES: Final = (125, 126, 65535, 65536)
"""The payload lengths around which a frame's length field changes its form (RFC 6455 §5.2)."""

_LARGE: Final = 200_000
"""The bytes of the largest message; with its envelope it is below the default limit of 262,144."""

_ROUND_TRIPS: Final = 20
_ROUND_TRIP_BYTES: Final = 64

_FIRST_FRAME: Final = b"7"
"""The first message of a phone, from which its binary learns its conn_id."""

Measured = Mapping[str, float]
"""Measured times in seconds, by name."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step failed. The texts are printable ASCII and do not contain the phone's token.

    Attributes:
        expected: what the step expected next.
        got: what came instead.
        hint: what the user can do about it; empty if there is no advice.
    """

    expected: str
    got: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one step.

    Attributes:
        step: the name of the step.
        seconds: how long the step took.
        measured: other times that the step measured.
        failure: why the step failed; ``None`` if it passed.
    """

    step: str
    seconds: float
    measured: Measured = field(default_factory=dict)
    failure: Failure | None = None


class Session:
    """The connections and values that the steps of one run share.

    Attributes:
        endpoint: where the relay listens.
        server_id: the random server-id of this run.
        token: the random token that the phones send.
        expectation: what must come next, as text for a :class:`Failure`.
        conn_ids: the conn_id of each phone that has joined, by the name of the phone.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.server_id = _random_server_id()
        self.token = secrets.token_hex(16)
        self.expectation = ""
        self.conn_ids: dict[str, str] = {}
        self._sockets: dict[str, WebSocket] = {}

    async def connect_binary(self) -> None:
        """Connect as a binary that claims the server-id."""
        await self._connect("binary", "/v1/server", {"X-Pyrycode-Version": __version__})

    async def connect_phone(self, name: str, server_id: str) -> None:
        """Connect a phone called ``name`` to ``server_id``."""
        headers = {"X-Pyrycode-Token": self.token, "X-Pyrycode-Device-Name": "fastrelay probe"}
        await self._connect(name, "/v1/client", headers, server_id)

    async def _connect(
        self, name: str, path: str, headers: dict[str, str], server_id: str | None = None
    ) -> None:
        self.expectation = f"HTTP 101 from {path}"
        headers = {"X-Pyrycode-Server": server_id or self.server_id} | headers
        self._sockets[name] = await WebSocket.connect(self.endpoint, path, headers)

    async def send(self, name: str, data: bytes) -> None:
        """Send a text message on the connection called ``name``."""
        self.expectation = f"an open connection for what the {name} sends"
        await self._sockets[name].send(data)

    async def close(self, name: str, code: int) -> None:
        """Close the connection called ``name``, and expect the relay's close frame and its end."""
        self.expectation = f"{CloseReceived(code)}, in answer to that of the {name}"
        await self._sockets[name].close(code)
        await self.expect(name, CloseReceived(code), ConnectionEnded())

    async def expect(self, name: str, *expected: Incoming) -> None:
        """Expect exactly these events on the connection called ``name``, in this order.

        Raises:
            Unexpected: something else came.
        """
        for event in expected:
            self.expectation = f"{event}, for the {name}"
            got = await self._sockets[name].next()
            if got != event:
                self._raise_difference(event, got, name)
        if expected[-1] == ConnectionEnded():
            await self._sockets.pop(name).drop()

    def _raise_difference(self, expected: Incoming, got: Incoming, name: str) -> None:
        if isinstance(expected, TextReceived) and isinstance(got, TextReceived):
            start = max(0, _first_difference(expected.data, got.data) - 20)  # with some context
            self.expectation = f"{expected.shown(start)}, for the {name}"
            raise Unexpected(got.shown(start))
        raise Unexpected(str(got))

    async def expect_joined(self, name: str) -> None:
        """Expect the first message of the phone ``name`` at the binary, and store its conn_id."""
        start = b'{"conn_id":"client-%b-' % self.server_id.encode()
        end = b'","frame":%b}' % _FIRST_FRAME
        self.expectation = f"text {start + b'(8 hex digits)' + end!r}, for the binary"
        got = await self._sockets["binary"].next()
        pattern = re.escape(start) + b"[0-9a-f]{8}" + re.escape(end)
        if not isinstance(got, TextReceived) or not re.fullmatch(pattern, got.data):
            raise Unexpected(str(got))
        self.conn_ids[name] = json.loads(got.data)["conn_id"]

    async def other_messages(self) -> str:
        """What other connections have received meanwhile, as text that may explain a failure."""
        received = []
        for name, websocket in self._sockets.items():
            with contextlib.suppress(TimeoutError, Unexpected, OSError):
                async with asyncio.timeout(0):  # only what has been received already
                    received.append(f"; but the {name} got {await websocket.next()}")
        return "".join(received)

    async def drop(self) -> None:
        """Abort all connections."""
        for websocket in self._sockets.values():
            await websocket.drop()


@dataclass(frozen=True, slots=True)
class Step:
    """One check.

    Attributes:
        name: the name for reports.
        run: performs the check; returns times that it measured, if any.
    """

    name: str
    run: Callable[[Session], Awaitable[Measured | None]]


async def _healthz(session: Session) -> None:
    session.expectation = 'HTTP 200 from /healthz, with "status":"ok"'
    status, body = await get(session.endpoint, "/healthz")
    if status != 200:
        raise unexpected_status(status)
    try:
        healthy = json.loads(body)["status"] == "ok"
    except (ValueError, KeyError, TypeError, RecursionError):
        healthy = False
    if not healthy:
        raise Unexpected(str(TextReceived(body)))


async def _binary_connects(session: Session) -> None:
    await session.connect_binary()


async def _phone_joins(session: Session) -> None:
    await _join(session, "phone")


async def _join(session: Session, name: str) -> None:
    await session.connect_phone(name, session.server_id)
    await session.send(name, _FIRST_FRAME)
    await session.expect_joined(name)


async def _frames_reach_the_binary(session: Session) -> None:
    for message in _messages(session):
        await session.send("phone", message)
        await session.expect("binary", TextReceived(_envelope(session, "phone", message)))


async def _frames_reach_the_phone(session: Session) -> None:
    for message in _messages(session):
        await session.send("binary", _envelope(session, "phone", message))
        await session.expect("phone", TextReceived(message))


async def _round_trips(session: Session) -> Measured:
    times = []
    for _ in range(_ROUND_TRIPS):
        message = _message(_ROUND_TRIP_BYTES)
        envelope = _envelope(session, "phone", message)
        start = time.perf_counter()
        await session.send("phone", message)
        await session.expect("binary", TextReceived(envelope))
        await session.send("binary", envelope)
        await session.expect("phone", TextReceived(message))
        times.append(time.perf_counter() - start)
    return {"min": min(times), "median": statistics.median(times), "max": max(times)}


async def _binary_closes_the_phone(session: Session) -> None:
    directive = b'{"conn_id":"%b","frame":"last","close_code":4401}'
    await session.send("binary", directive % session.conn_ids["phone"].encode())
    await session.expect("phone", TextReceived(b'"last"'), CloseReceived(4401), ConnectionEnded())


async def _no_notice_of_that(session: Session) -> None:
    # The first phone is closed completely by now. A notice of it would reach the binary before the
    # first frame of this phone.
    await _join(session, "second phone")


async def _phone_leaves(session: Session) -> None:
    await session.close("second phone", 4001)
    notice = b'{"conn_id":"%b","close_code":4001}' % session.conn_ids["second phone"].encode()
    await session.expect("binary", TextReceived(notice))


async def _unknown_server_id(session: Session) -> None:
    await session.connect_phone("lost phone", _random_server_id())
    await session.expect(
        "lost phone", CloseReceived(4404, "no server with that id"), ConnectionEnded()
    )


async def _binary_leaves(session: Session) -> None:
    await session.close("binary", 1000)


STEPS: Final = (
    Step("healthz answers ok", _healthz),
    Step("binary connects", _binary_connects),
    Step("phone joins its binary", _phone_joins),
    Step("frames reach the binary", _frames_reach_the_binary),
    Step("frames reach the phone", _frames_reach_the_phone),
    Step("small frames there and back", _round_trips),
    Step("binary closes a phone", _binary_closes_the_phone),
    Step("binary is not told of that", _no_notice_of_that),
    Step("binary is told when a phone leaves", _phone_leaves),
    Step("unknown server-id is refused", _unknown_server_id),
    Step("binary leaves", _binary_leaves),
)
"""All steps, in the order in which they must run: each uses the connections of earlier ones."""


async def check(endpoint: Endpoint, step_timeout: float, report: Callable[[Result], None]) -> bool:
    """Run the steps until one fails; returns whether all passed.

    Args:
        endpoint: where the relay listens.
        step_timeout: the seconds that one step may take.
        report: called with the result of each step when it is over.
    """
    session = Session(endpoint)
    try:
        for step in STEPS:
            result = await _run_step(step, session, step_timeout)
            report(result)
            if result.failure is not None:
                return False
    finally:
        await session.drop()
    return True


async def _run_step(step: Step, session: Session, step_timeout: float) -> Result:
    start = time.perf_counter()
    try:
        async with asyncio.timeout(step_timeout):
            measured = await step.run(session)
    except Unexpected as error:
        got, hint = error.got, error.hint
    except OSError as error:
        got, hint = _describe(error, step_timeout) + await session.other_messages(), ""
    else:
        return Result(step.name, time.perf_counter() - start, measured or {})
    seconds = time.perf_counter() - start
    # The relay may echo what it was sent, but the token must not be shown.
    got = got.replace(session.token, "(the token)")
    return Result(step.name, seconds, failure=Failure(session.expectation, got, hint))


def _describe(error: OSError, step_timeout: float) -> str:
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"nothing within {step_timeout:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(error, socket.gaierror):
        return f"no address for that host: {error.strerror}"
    return error.strerror or str(error) or type(error).__name__


def _first_difference(one: bytes, other: bytes) -> int:
    """The index of the first byte that differs."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _random_server_id() -> str:
    return f"probe-{secrets.token_hex(8)}"


def _messages(session: Session) -> list[bytes]:
    """Messages whose lengths are at the boundaries, either themselves or with their envelopes."""
    overhead = len(_envelope(session, "phone", b""))
    wrapped = [length - overhead for length in _BOUNDARIES]
    return [_message(length) for length in (1, *wrapped, *_BOUNDARIES, _LARGE)]


def _message(length: int) -> bytes:
    """A JSON value of ``length`` bytes that would change if the relay parsed and rewrote it."""
    start, end = b'{ "\xc3\xa9":1.50, "pad":"', b'" }'
    pad = length - len(start) - len(end)
    if pad < 0:
        return b"7" * length
    return start + secrets.token_hex(pad // 2 + 1)[:pad].encode() + end


def _envelope(session: Session, phone: str, message: bytes) -> bytes:
    """The envelope of a message between a phone and its binary, in either direction."""
    return b'{"conn_id":"%b","frame":%b}' % (session.conn_ids[phone].encode(), message)
