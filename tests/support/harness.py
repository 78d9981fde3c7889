"""Relays for tests, on ephemeral ports: in the test's own loop, or in a process of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from fastrelay.config.settings import Address, Intervals, Limits, Settings
from tests.support.certificates import local_certificate
from tests.support.in_process import RelayInProcess, relay_in_process
from tests.support.in_subprocess import relay_in_subprocess, relay_with_workers
from tests.support.running import RunningRelay

__all__ = [
    "RelayInProcess",
    "RunningRelay",
    "relay_in_subprocess",
    "relay_with_workers",
    "running_relay",
]

# Timers are fine-grained in tests. A deadline that a test does not set itself never comes, so that
# none fires by accident on a slow machine, and none hides that something did not come at once.
INTERVALS = Intervals(
    tick=0.005,
    **dict.fromkeys(
        (
            *("head", "close", "ping", "pong", "message", "write", "tls_stall", "takeover_probe"),
            *("grace", "proxy_header", "push_call", "handover"),
        ),
        1000.0,
    ),
)
NO_LIMIT = {"upgrade_burst": 0}

SECURE: ContextVar[bool] = ContextVar("SECURE", default=False)
"""Whether relays serve TLS, and peers speak it, where a test does not say."""

START: ContextVar[Any] = ContextVar("START", default=relay_in_process)
"""How relays are started: :func:`relay_in_process` or :func:`relay_in_subprocess`."""


def settings_for(
    *,
    intervals: dict[str, float] | None = None,
    limits: dict[str, Any] | None = None,
    **settings: Any,
) -> Settings:
    """The settings of a test's relay; the rate limit is off unless a test sets it."""
    return replace(
        Settings(
            listen=Address("127.0.0.1", 0),
            tls=local_certificate() if SECURE.get() else None,
            metrics_listen=Address("127.0.0.1", 0),
            intervals=replace(INTERVALS, **(intervals or {})),
            limits=replace(Limits(), **(NO_LIMIT | (limits or {}))),
            log_level="debug",
        ),
        **settings,
    )


@asynccontextmanager
async def running_relay(
    *, intervals: dict[str, float] | None = None, **changed: Any
) -> AsyncIterator[Any]:
    """A relay with the given settings changed, see :func:`settings_for`.

    It is a :class:`RunningRelay`; by default a :class:`RelayInProcess`.
    """
    flood = (intervals or {}).get("log_flood", 0.0)
    async with START.get()(settings_for(intervals=intervals, **changed), flood) as running:
        yield running
