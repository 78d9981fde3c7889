"""How a relay ends: it drains, until that is complete or a second request to end comes."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastrelay.loop.internal_errors import report


async def drain(
    action: Callable[[], Coroutine[Any, Any, None]], exit_requests: "asyncio.Queue[Any]"
) -> None:
    """Drain, by ``action``, until that is complete or another exit request comes."""
    second = asyncio.create_task(exit_requests.get())
    drained = asyncio.create_task(action())
    await asyncio.wait({second, drained}, return_when=asyncio.FIRST_COMPLETED)
    for task in (second, drained):
        task.cancel()
    for result in await asyncio.gather(second, drained, return_exceptions=True):
        if isinstance(result, Exception):
            report(result)
