"""The request head's parser let go at the upgrade, against kept as long as the connection lives.

uvloop's transport remembers ``data_received`` of the last protocol that had one.

What it costs is in docs/performance.md (what made the difference).
"""

from typing import Any

from fastrelay.websocket.connection import Connection

IDLE = True


def change() -> None:
    """Set protocols as one would: the next after the last, with nothing between."""
    shipped = Connection.__init__

    def make(self: Any, transport: Any, *rest: Any) -> None:
        http = transport.get_protocol()
        shipped(self, transport, *rest)
        transport.set_protocol(http)
        transport.set_protocol(self)

    Connection.__init__ = make  # type: ignore[method-assign]
