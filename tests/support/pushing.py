"""A relay that pushes through the tests' own Google, and what became of its wakes."""

import contextlib
import io
import logging
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.google import DEVICE, Google, secrets
from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import Peer

SENT = "push_wake_sent"
CELLS = ("sent", "unregistered", "send_failed", "token_fetch_failed", "dropped")
FAILED, DROPPED = "push_wake_send_failed", "binary_forwarder_push_wake_dropped"


def outcomes(relay: RunningRelay) -> dict[str, int]:
    """The cells of the family, as scraped."""
    return {
        dict(labels)["outcome"]: int(value)
        for (name, labels), value in relay.samples().items()
        if name == "pyrycode_relay_push_wakes_total"
    }


def only(**advanced: int) -> dict[str, int]:
    """All five cells: these, and 0."""
    return dict.fromkeys(CELLS, 0) | advanced


def wake(peer: Peer, token: str = DEVICE, platform: str = "fcm") -> None:
    peer.send_json({"push_wake": {"platform": platform, "token": token}})


async def ended(relay: RunningRelay, count: int) -> dict[str, int]:
    """The cells once ``count`` wakes have ended, and none is under way."""
    await relay.until(lambda: sum(outcomes(relay).values()) >= count)
    await relay.until(lambda: relay.relay.waker.in_flight == 0)
    return outcomes(relay)


@asynccontextmanager
async def pushing(
    fake: Google, *, push: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[RunningRelay]:
    """A relay that pushes through ``fake``, whose every output is searched for secrets.

    That is its log, its metrics, its settings, and whatever it or a library of its says on stdout,
    stderr and in Python's logging, down to debug.
    """
    heard, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(heard), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
            async with running_relay(push=fake.push(**(push or {})), **settings) as relay:
                yield relay
                said = "".join(relay.lines) + str(relay.samples()) + repr(relay.relay._settings)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    said += heard.getvalue()
    assert not [secret for secret in secrets() if secret in said], said


def fields(line: str) -> dict[str, str]:
    """The keys and values of a line, without time, level and event."""
    found = dict(word.split("=", 1) for word in shlex.split(line.replace("\\", "\\\\")))
    return {key: found[key] for key in found.keys() - {"time", "level", "msg"}}


def reason(relay: RunningRelay) -> str:
    """What the one line about a send that failed gives as its reason."""
    (line,) = relay.log_of(FAILED)
    return line.partition(" err=")[2].strip().strip('"')
