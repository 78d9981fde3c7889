"""Functions that examine and set the socket of a connection.

They are given the socket from which its transport was made. It is detached when the transport is
closed, so no descriptor is used that belongs to another connection by then.
"""

import contextlib
import fcntl
import select
import socket
import struct
import sys
import termios
from typing import Final, NamedTuple

_NOTSENT_LOWAT: Final = 128 * 1024
"""Bytes that the kernel takes beyond what it has sent, before a socket is not writable (tcp(7))."""

_TCP_INFO_SIZE: Final = 136
_TCP_BYTES: Final = struct.Struct("120x2Q")
"""``tcpi_bytes_acked`` and ``tcpi_bytes_received`` of ``struct tcp_info`` (linux/tcp.h)."""

_INT: Final = struct.Struct("i")


class TcpBytes(NamedTuple):
    """What the kernel knows about a TCP connection, in bytes; both numbers only grow.

    Attributes:
        acknowledged: those that the peer's kernel has acknowledged.
        received: those that this kernel has received in order, read or not.
    """

    acknowledged: int
    received: int


def tells_tcp_bytes() -> bool:
    """Whether this system can answer :func:`tcp_bytes` at all."""
    return sys.platform == "linux"


def tcp_bytes(sock: socket.SocketType | None) -> TcpBytes | None:
    """The acknowledged and received bytes; ``None`` if it is not TCP, or the system does not know.

    This is a system call of about half a microsecond. It is made at deadlines, and not for frames.
    """
    if sock is None or not tells_tcp_bytes():
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        return TcpBytes(*_TCP_BYTES.unpack(info))
    except (OSError, struct.error):  # it is closed, or the kernel is old
        return None


def unacknowledged(sock: socket.SocketType | None) -> int:
    """The bytes that the kernel holds for the peer, sent or not; 0 if this is not known."""
    if sock is None:
        return 0
    try:
        held: int = _INT.unpack(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(_INT.size)))[0]
    except (OSError, ValueError):  # it is closed, or not TCP
        return 0
    return held


def bound_send_buffer(sock: socket.SocketType | None, size: int) -> None:
    """Limit the bytes that the kernel holds for the peer: ``size``; 0: the kernel chooses.

    The kernel grants less than ``size`` if its limit for processes without privileges is smaller.
    """
    if sock is None or not size:
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    except OSError:  # it is closed
        return


def keep_unsent_few(listening: socket.socket) -> None:
    """Limit the bytes that are not sent yet, of all connections accepted from this socket.

    So a pong or a close frame does not wait behind many of them. A socket that is accepted has the
    options of the listening one. Nothing is changed if the system has no such option.
    """
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):  # it is not TCP
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT)


def peer_has_left(sock: socket.SocketType | None) -> bool:
    """Whether the peer has closed its side of TCP. No bytes are read from the socket."""
    if sock is None:
        return False
    poll = select.poll()
    try:
        poll.register(sock, select.POLLRDHUP)
        return bool(poll.poll(0))
    except (OSError, ValueError):  # it is closed
        return True
