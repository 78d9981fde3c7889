"""One receive buffer for all connections, against one of its own for each.

Found, changed against shipped: CPU a round trip 1.0 at windows 1 and 32; an idle connection weighs
68 KB instead of 2.4 KB: Python clears the buffer it makes. So the buffer is shared for the memory.
"""

import asyncio
from dataclasses import replace

from bench.compare.plan import BATCH, SMALL
from fastrelay.loop.fair_reads import FairScheduler
from fastrelay.websocket.connection import Connection
from fastrelay.websocket.context import ConnectionContext, SentCounter
from fastrelay.websocket.handler import Handler

LOADS = (SMALL, BATCH)
IDLE = True


def change() -> None:
    """Give each connection 64 KiB."""
    shipped = Connection.__init__

    def with_its_own(
        self: Connection,
        transport: asyncio.Transport,
        handler: Handler,
        context: ConnectionContext,
        sent: SentCounter,
    ) -> None:
        shipped(
            self,
            transport,
            handler,
            replace(context, scheduler=FairScheduler(size=64 * 1024)),
            sent,
        )

    Connection.__init__ = with_its_own  # type: ignore[method-assign]
