"""How a relay ends: it drains, unless it is told a second time."""

import asyncio
from typing import Any

from fastrelay.loop.internal_errors import report
from fastrelay.server.relay import Relay


async def drain(relay: Relay, exit_requests: "asyncio.Queue[Any]") -> None:
    """Drain until that is complete or another exit request comes."""
    second = asyncio.create_task(exit_requests.get())
    drained = asyncio.create_task(relay.drain())
    await asyncio.wait({second, drained}, return_when=asyncio.FIRST_COMPLETED)
    for task in (second, drained):
        task.cancel()
    for result in await asyncio.gather(second, drained, return_exceptions=True):
        if isinstance(result, Exception):
            report(result)
