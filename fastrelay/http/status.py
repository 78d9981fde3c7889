"""Writes status lines: every one that leaves the relay, in this one place."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

StatusHook = Callable[[int], None]
"""Is told the first status of a request."""


def write_status(
    transport: asyncio.Transport, status: HTTPStatus, data: bytes, hook: StatusHook | None
) -> None:
    """Write ``data``, which begins with the status line of ``status``, and tell ``hook`` of it."""
    if hook is not None:
        hook(status)
    transport.write(data)
