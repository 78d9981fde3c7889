"""Keeps connections open for the next call."""

import asyncio
from typing import Final

from fastrelay.net.outgoing.https_connection import HttpsConnection

_KEPT: Final = 15.0
"""Seconds that a connection is kept without a call."""

Server = tuple[str, int]
"""A host and its port."""


class IdleConnections:
    """Keeps connections open between calls. Used by the event loop's thread alone."""

    def __init__(self) -> None:
        self._idle: dict[HttpsConnection, tuple[Server, asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._idle)

    def put(self, server: Server, connection: HttpsConnection) -> None:
        """Keep a connection for a later call, unless it is closed."""
        if connection.is_open:
            loop = asyncio.get_running_loop()
            self._idle[connection] = server, loop.call_later(_KEPT, self._end, connection)
        else:
            connection.give_up()

    def take(self, server: Server) -> HttpsConnection | None:
        """A connection to ``server``, which is the caller's from now on; ``None``: there is none.

        A connection on which the server has sent anything, or hung up, is not returned.
        """
        for connection, (known, timer) in reversed(list(self._idle.items())):
            if known == server:
                del self._idle[connection]
                timer.cancel()
                if connection.is_open:
                    return connection
                connection.give_up()
        return None

    def close(self) -> None:
        """Close all of them."""
        for connection in list(self._idle):
            self._end(connection)

    def _end(self, connection: HttpsConnection) -> None:
        _, timer = self._idle.pop(connection)
        timer.cancel()
        connection.give_up()
