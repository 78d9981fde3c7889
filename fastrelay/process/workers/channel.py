"""The messages between the supervisor and a worker, over one socket, in order."""

import asyncio
import socket
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from fastrelay.net import packets

Value = str | int


class Order(StrEnum):
    """The messages of the supervisor, with their values."""

    SERVE = "serve"
    """Begin to accept connections."""
    CONNECT = "connect"
    """Connect to another worker: its number, and the sockets to and from it."""
    ACCEPT_FOR = "accept_for"
    """Also accept from the socket of another worker, which does not accept: its number."""
    LEAVE = "leave"
    """Stop this, because the other worker accepts again: its number."""
    RELOAD = "reload"
    """Check whether there is a new certificate."""
    PUBLISH = "publish"
    """Publish all counts, and then send this number back."""
    CLOSE = "close"
    """Accept no more connections. The drain follows when no worker accepts any more."""
    DRAIN = "drain"
    """Drain, then end."""
    STOP = "stop"
    """Drop all connections, and end."""


class Report(StrEnum):
    """The messages of a worker, with their values."""

    READY = "ready"
    """The worker can serve."""
    PUBLISHED = "published"
    """The counts are published: the number of :attr:`Order.PUBLISH`."""
    WAKE = "wake"
    """Send a wake: a server-id, the connection id of its binary, and the token of the device."""
    UNCONNECTED = "unconnected"
    """Another worker, to and from which no sockets came: this one has no descriptor left now."""
    NOT_ACCEPTING = "not_accepting"
    """Another worker, from whose socket this one cannot accept: it has no descriptor left now."""
    FAILED = "failed"
    """A listening socket is broken."""


_decode: Final = msgspec.msgpack.Decoder(list[str | int]).decode


class Channel:
    """One end of the socket between supervisor and worker.

    Args:
        on_message: called with what the other side says, its values and the sockets that came with
            it, which belong to the callee. None came if this process has too many descriptors.
        on_end: called once when the other side is gone.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[str, list[Value], tuple[socket.socket, ...]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._buffer = packets.receive_buffer()
        self._is_open = True
        self._loop.add_reader(sock, self._read)

    def say(self, what: str, *values: Value, descriptors: tuple[int, ...] = ()) -> bool:
        """Send a message; returns whether it was sent: there was room, and the other side lives."""
        try:
            return self._is_open and packets.send(
                self._sock, msgspec.msgpack.encode((what, *values)), descriptors
            )
        except OSError:
            return False

    def _read(self) -> None:
        try:
            packet = packets.receive(self._sock, self._buffer)
        except (BlockingIOError, InterruptedError, packets.BrokenPacket):
            return
        except OSError:
            packet = None
        if packet is None:
            self.close()
            self._on_end()
            return
        what, *values = _decode(packet.content)
        self._on_message(str(what), values, packet.sockets)

    def close(self) -> None:
        """Close the socket: send and receive no more messages."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._sock)
            self._sock.close()
