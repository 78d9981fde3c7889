"""Messages with descriptors between the processes of one relay (unix(7), SOCK_SEQPACKET).

Each message arrives whole or not at all. Neither side ever waits for the other: a message that does
not fit into the socket's buffer is not sent.
"""

import array
import errno
import mmap
import os
import socket
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

MOST_BYTES: Final = 400 * 1024
"""The largest message: a request head, and what was read behind it before it was complete."""

_BUFFER: Final = 1024 * 1024
_DESCRIPTORS: Final = 4
_INT: Final = array.array("i").itemsize
_SPACE: Final = socket.CMSG_SPACE(_DESCRIPTORS * _INT)

# As plain integers: operations on members of the enumeration cost a microsecond each.
_CLOSE_ON_EXEC: Final = int(socket.MSG_CMSG_CLOEXEC)
_CONTENT_CUT: Final = int(socket.MSG_TRUNC)
_CUT: Final = _CONTENT_CUT | int(socket.MSG_CTRUNC)


class BrokenPacket(Exception):
    """A message was cut."""


class Packet(NamedTuple):
    """A message, and sockets that belong to the receiver now.

    There is no socket if not all have arrived, because the receiver has too many descriptors.
    """

    content: bytes
    sockets: tuple[socket.socket, ...]

    def close(self) -> None:
        """Close the sockets."""
        for sock in self.sockets:
            os.close(sock.detach())


def packet_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends, neither of which blocks."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return ends


def receive_buffer() -> mmap.mmap:
    """A buffer for any message. Pages that no message has reached take no memory, unlike those of
    a ``bytearray``, which is filled with zeros: each worker has two for every other one."""
    return mmap.mmap(-1, MOST_BYTES)


def send(sock: socket.socket, content: bytes, descriptors: tuple[int, ...] = ()) -> bool:
    """Send a message; returns whether there was room for it.

    Raises:
        OSError: the other end is gone, or the message is too large.
    """
    try:
        if descriptors:
            passed = array.array("i", descriptors)
            sock.sendmsg([content], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        else:
            sock.send(content)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError as error:
        # So many descriptors are on their way that the kernel takes no more (unix(7)).
        if error.errno == errno.ETOOMANYREFS:
            return False
        raise
    return True


def receive(
    sock: socket.socket,
    buffer: mmap.mmap,
    make: Callable[[int], socket.socket] = lambda number: socket.socket(fileno=number),
) -> Packet | None:
    """The next message; ``None`` at the end, when the other side is gone.

    Args:
        buffer: of :func:`receive_buffer`, used only during the call.
        make: makes a socket that owns the descriptor with this number.

    Raises:
        BlockingIOError: there is none now.
        BrokenPacket: it was not whole; its sockets are closed.
        OSError: the socket failed.
    """
    size, ancillary, flags, _ = sock.recvmsg_into([buffer], _SPACE, _CLOSE_ON_EXEC)
    if not ancillary:
        packet = Packet(buffer[:size], ())
    else:
        packet = Packet(buffer[:size], tuple(map(make, _numbers(ancillary))))
    if flags & _CUT:
        packet.close()
        packet = packet._replace(sockets=())
    if flags & _CONTENT_CUT:
        raise BrokenPacket
    return packet if size else None


def _numbers(ancillary: Iterable[tuple[int, int, bytes]]) -> "array.array[int]":
    """The numbers of the descriptors that came with a message."""
    numbers = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: len(data) // _INT * _INT])
    return numbers
