"""The probe's checks: named steps that share one session, and a result for each step.

A session opens four WebSockets: one of a binary, two of its phones, and one of a phone with an
unknown server-id. What is expected follows from the protocol, byte for byte. Nothing is printed
here.
"""

import asyncio
import json
import secrets
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from fastrelay.tools.probe.client import (
    USER_AGENT,
    CloseReceived,
    ConnectionEnded,
    TextReceived,
)
from fastrelay.tools.probe.hints import hint_of, unexpected_status
from fastrelay.tools.probe.session import (
    FIRST_FRAME,
    Session,
    random_server_id,
)
from fastrelay.tools.support.connection import Unexpected, describe
from fastrelay.tools.support.endpoint import Endpoint
from fastrelay.tools.support.http_get import get
from fastrelay.tools.support.printable import printable

_BOUNDARIES: Final = (125, 126, 65535, 65536)
"""The payload lengths around which a frame's length field changes its form (RFC 6455 §5.2)."""

_LARGE: Final = 200_000
"""The bytes of the largest message; with its envelope it is below the default limit of 262,144."""

_MAX_BODY_BYTES: Final = 64 * 1024
"""The most bytes read of ``/healthz``; it has about a hundred."""

UPGRADES: Final = 4
"""The upgrade attempts of all steps: those of a binary and three phones."""

_ROUND_TRIPS: Final = 20
_ROUND_TRIP_BYTES: Final = 64

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
    answer = await get(session.endpoint, "/healthz", USER_AGENT, _MAX_BODY_BYTES)
    session.certificate_expires_at = _expires_at(answer.certificate)
    if answer.status != 200:
        raise unexpected_status(answer.status, answer.headers)
    try:
        healthy = json.loads(answer.body)["status"] == "ok"
    except (ValueError, KeyError, TypeError, RecursionError):
        healthy = False
    if not healthy:
        raise Unexpected(str(TextReceived(answer.body)), "another server listens at this address?")


def _expires_at(certificate: dict[str, object]) -> float | None:
    not_after = certificate.get("notAfter")
    return ssl.cert_time_to_seconds(not_after) if isinstance(not_after, str) else None


async def _binary_connects(session: Session) -> None:
    await session.connect_binary()


async def _phone_joins(session: Session) -> None:
    await _join(session, "phone")


async def _join(session: Session, name: str) -> None:
    await session.connect_phone(name, session.server_id)
    await session.send(name, FIRST_FRAME)
    await session.expect_joined(name)


async def _frames_reach_the_binary(session: Session) -> None:
    for message in _messages(session):
        await session.pass_on("phone", message, "binary", _envelope(session, "phone", message))


async def _frames_reach_the_phone(session: Session) -> None:
    for message in _messages(session):
        await session.pass_on("binary", _envelope(session, "phone", message), "phone", message)


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
    await session.connect_phone("lost phone", random_server_id())
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


async def check(
    endpoint: Endpoint, seconds: float, report: Callable[[Result], None]
) -> float | None:
    """Run the steps until one fails.

    Args:
        endpoint: where the relay listens.
        seconds: how long all steps together may take.
        report: called with the result of each step when it is over.

    Returns when the relay's certificate expires, in seconds since the epoch; ``None`` if there was
    no certificate.
    """
    session = Session(endpoint)
    limit = _Limit(seconds, asyncio.get_running_loop().time() + seconds)
    try:
        for step in STEPS:
            result = await _run_step(step, session, limit)
            report(result)
            if result.failure is not None:
                break
    finally:
        await session.drop()
    return session.certificate_expires_at


class _Limit(NamedTuple):
    """How long all steps may take, and when that is over, by the clock of the event loop."""

    seconds: float
    deadline: float


async def _run_step(step: Step, session: Session, limit: _Limit) -> Result:
    start = time.perf_counter()
    try:
        async with asyncio.timeout_at(limit.deadline):
            measured = await step.run(session)
    except Unexpected as error:
        got, hint = error.got, error.hint
    except OSError as error:
        got = _describe(error, limit) + await session.other_messages()
        hint = hint_of(error)
    else:
        return Result(step.name, time.perf_counter() - start, measured or {})
    seconds = time.perf_counter() - start
    # The relay may echo what it was sent, but the token must not be shown.
    got = printable(got.replace(session.token, "(the token)"))
    return Result(step.name, seconds, failure=Failure(session.expectation, got, hint))


def _describe(error: OSError, limit: _Limit) -> str:
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"nothing within {limit.seconds:g} s, the --timeout of all steps"
    return describe(error)


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
