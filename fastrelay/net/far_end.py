"""Gives the owner of a spliced connection access to the peer's TCP connection.

Another process does the TLS of this connection. The owner shares the TCP socket only to ask the
kernel about it.
"""

import socket
from typing import Any

from fastrelay.policy.shared.endings import Ending


class FarEnd:
    """The peer's TCP connection; it answers :mod:`fastrelay.net.sockets` as a transport does.

    Args:
        sock: belongs to this object. Bytes are never read from it or written to it.
        ending: where both processes record how the connection ends.
    """

    __slots__ = ("_ending", "_socket")

    def __init__(self, sock: socket.socket, ending: Ending) -> None:
        self._socket = sock
        self._ending = ending

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The socket, for the same name as in a transport."""
        return self._socket if name == "socket" else default

    def aborting(self) -> None:
        """The connection is dropped, whatever is still unsent."""
        self._ending.aborted()

    def close(self, exc: Exception | None = None) -> Exception | None:
        """The connection is gone; returns why: ``exc``, unless its process knows better."""
        self._socket.close()
        return self._ending.why() or exc
