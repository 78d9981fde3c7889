"""Gives the owner of a spliced connection access to the peer's TCP connection.

Another process does the TLS of this connection. The owner shares the TCP socket only to ask the
kernel about it, and to set its send buffer.
"""

from fastrelay.net.accepted import AcceptedSocket
from fastrelay.policy.shared.endings import Ending


class FarEnd:
    """The peer's TCP connection.

    Attributes:
        sock: its socket, for :mod:`fastrelay.net.sockets`; it belongs to this object. Bytes are
            never read from it or written to it.

    Args:
        ending: where both processes record how the connection ends.
    """

    __slots__ = ("_ending", "sock")

    def __init__(self, sock: AcceptedSocket, ending: Ending) -> None:
        self.sock = sock
        self._ending = ending

    def aborting(self) -> None:
        """The connection is dropped, whatever is still unsent."""
        self._ending.aborted()

    def close(self, exc: Exception | None = None) -> Exception | None:
        """The connection is gone; returns why: ``exc``, unless its process knows better."""
        self.sock.drop()
        return self._ending.why() or exc
