"""One receive buffer for all connections, against one of its own for each.

The CPU of a round trip does not change. An idle connection takes many times the memory, because
Python clears the buffer it makes. The figures are in docs/performance.md (what made the
difference).
"""

import asyncio
import socket
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
        sock: socket.SocketType | None = None,
    ) -> None:
        own = replace(context, scheduler=FairScheduler(size=64 * 1024))
        shipped(self, transport, handler, own, sent, sock)

    Connection.__init__ = with_its_own  # type: ignore[method-assign]
