"""Functions that examine and set the socket of a transport."""

import asyncio
import fcntl
import select
import socket
import struct
import sys
import termios
from typing import Any, Final, NamedTuple, Protocol

_NOTSENT_LOWAT: Final = 128 * 1024
"""Bytes that the kernel takes beyond what it has sent, before a socket is not writable (tcp(7))."""

_TCP_INFO_SIZE: Final = 136
_TCP_BYTES: Final = struct.Struct("120x2Q")
"""``tcpi_bytes_acked`` and ``tcpi_bytes_received`` of ``struct tcp_info`` (linux/tcp.h)."""

_INT: Final = struct.Struct("i")


class HasSocket(Protocol):
    """A transport, or an object that takes its place."""

    def get_extra_info(self, name: str, default: Any = None, /) -> Any: ...


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


def tcp_bytes(transport: HasSocket) -> TcpBytes | None:
    """The acknowledged and received bytes; ``None`` if it is not TCP, or the system does not know.

    This is a system call of about half a microsecond. It is made at deadlines, and not for frames.
    """
    if not tells_tcp_bytes():
        return None
    try:
        sock = transport.get_extra_info("socket")
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        return TcpBytes(*_TCP_BYTES.unpack(info))
    except (AttributeError, OSError, ValueError, struct.error):  # no socket, or an old kernel
        return None


def unacknowledged(transport: HasSocket) -> int:
    """The bytes that the kernel holds for the peer, sent or not; 0 if this is not known."""
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        held: int = _INT.unpack(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(_INT.size)))[0]
    except (AttributeError, OSError, ValueError):
        return 0
    return held


def bound_send_buffer(transport: asyncio.BaseTransport, size: int) -> None:
    """Limit the bytes that the kernel holds for the peer: ``size``; 0: the kernel chooses.

    The kernel grants less than ``size`` if its limit for processes without privileges is smaller.
    The bytes that are not sent yet are limited in any case, so that a pong or a close frame does
    not wait behind many of them. Nothing is changed if the system has no such options, or if the
    socket is not TCP: the end of a splice has a buffer of its own.
    """
    try:
        sock = transport.get_extra_info("socket")
        if sock.family == socket.AF_UNIX:
            return
        if size:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT)
    except (AttributeError, OSError, ValueError):  # no socket any more, or not TCP
        return


def peer_has_left(transport: HasSocket) -> bool:
    """Whether the peer has closed its side of TCP. No bytes are read from the socket."""
    poll = select.poll()
    try:
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))
    except (OSError, ValueError):  # there is no socket any more
        return True
