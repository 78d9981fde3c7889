"""The socket of one accepted connection, in the fewest bytes: each connection keeps it for life.

The relay asks it what the kernel knows of the connection. A transport of uvloop would make another
object for that, and keep it (``get_extra_info("socket")``). ``socket.socket`` is larger than the
class that it is based on, and takes longer to make: it makes members of enumerations of a family
and a type at each look.
"""

import socket
from typing import Any


class AcceptedSocket(socket.SocketType):
    """A connected socket, whose descriptor belongs to the transport if one is made from it."""

    __slots__ = ()

    def close(self) -> None:
        """Forget the descriptor; called by the transport, which has closed it.

        The number may be that of another connection by now, so nothing may use it any more.
        """
        self.detach()

    def drop(self) -> None:
        """Close the descriptor, which has no transport."""
        super().close()


def accept(listening: socket.socket, kind: tuple[int, int, int]) -> tuple[AcceptedSocket, Any]:
    """Accept a connection; returns its socket and the address of its peer.

    Args:
        kind: see :func:`kind_of`; it costs more than the rest to ask the socket for it.

    Raises:
        OSError: there is none now, or the socket has failed.
    """
    descriptor, peer = listening._accept()  # type: ignore[attr-defined]  # of the type of C
    return AcceptedSocket(*kind, fileno=descriptor), peer


def kind_of(sock: socket.socket) -> tuple[int, int, int]:
    """The family, type and protocol of a socket, as plain numbers."""
    return int(sock.family), int(sock.type), sock.proto
