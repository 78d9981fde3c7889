"""The one function that writes status lines: responses before the upgrade, and the 101."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

StatusHook = Callable[[int], None]
"""Called with the first status of a request."""


def write_status(
    transport: asyncio.Transport, status: HTTPStatus, data: bytes, hook: StatusHook | None
) -> None:
    """Write ``data``, which begins with the status line of ``status``, and call ``hook`` first."""
    if hook is not None:
        hook(status)
    transport.write(data)
