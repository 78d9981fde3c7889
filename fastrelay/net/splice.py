"""Connects a TLS connection with the process that owns it, through a Unix socket pair.

The *outer* end is the TLS layer of the peer's connection, and the *inner* end is this process's
side of the pair. Bytes from one end are written to the other. An end is read only while the other
end has nothing to send. This process therefore holds at most one read of each end, which is
:data:`fastrelay.loop.fair_reads.FIRST_QUOTA` bytes.
"""

import asyncio
import select
import socket
from collections.abc import Iterator
from typing import Final, cast

from fastrelay.loop.fair_reads import FIRST_QUOTA, FairReader, FairScheduler
from fastrelay.loop.internal_errors import report
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.tls.layer import TlsLayer
from fastrelay.policy.held_bytes import HeldBytes, Kind
from fastrelay.policy.shared.endings import Ending
from fastrelay.protocol.cause import Aborted, Cause

SEND_BUFFER: Final = 16 * 1024
"""Bytes of the pair's send buffers. Bytes that wait in them have not reached the peer, but the
owner cannot see this. With the system's default, a slow peer would seem to be stalled."""


def splice_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected stream sockets, neither of which blocks, with small buffers."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    return ends


class Splices:
    """All splices of one process.

    Args:
        linger: seconds from the end of the owner's side until the peer is dropped.
        held: the budget of bytes kept for peers.
    """

    def __init__(
        self, wheel: TimerWheel, scheduler: FairScheduler, held: HeldBytes, linger: float
    ) -> None:
        self.wheel = wheel
        self.scheduler = scheduler
        self.held = held
        self.linger = linger
        self._loop = asyncio.get_running_loop()
        self._joining: set[asyncio.Task[object]] = set()
        self._open: set[OuterEnd] = set()

    def __len__(self) -> int:
        """The number of splices."""
        return len(self._open)

    def __iter__(self) -> Iterator["OuterEnd"]:
        """The outer ends; a copy, because dropping one removes it."""
        return iter(tuple(self._open))

    def join(
        self,
        outer: TlsLayer,
        inner: socket.socket,
        ending: Ending,
        address: str,
        tenant: str,
    ) -> None:
        """Splice a TLS connection that is not read now with the inner end of its pair.

        Args:
            ending: where the owner and this process record how the connection ends.
            address, tenant: bytes that are held of the peer are charged to them.
        """
        if outer.is_closing():  # since it was handed over; the owner sees the end of the pair
            ending.ended(outer.why_lost)
            inner.close()
            return
        end = OuterEnd(outer, self, ending, address, tenant)
        self._open.add(end)
        outer.set_protocol(end)
        outer.set_write_buffer_limits(high=0)
        making = self._loop.connect_accepted_socket(end.make_inner, inner)
        task: asyncio.Task[object] = self._loop.create_task(making)
        self._joining.add(task)
        task.add_done_callback(self._joined)

    def _joined(self, task: asyncio.Task[object]) -> None:
        self._joining.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            report(error)

    def ended(self, end: "OuterEnd") -> None:
        """The peer's connection is gone."""
        self._open.discard(end)

    def abort(self) -> None:
        """Drop all of them."""
        for end in self:
            end.abort()


class OuterEnd(FairReader):
    """The protocol of the peer's connection; an item of the timer wheel, and a holder of bytes."""

    __slots__ = (
        "_address",
        "_cause",
        "_ending",
        "_inner",
        "_owner_has_ended",
        "_splices",
        "_tenant",
        "_transport",
        "wheel_tick",
    )

    most_read = FIRST_QUOTA

    def __init__(
        self,
        transport: asyncio.Transport,
        splices: Splices,
        ending: Ending,
        address: str,
        tenant: str,
    ) -> None:
        self._cause: Cause | None = None
        self._ending = ending
        self._transport = transport
        self._splices = splices
        self._address = address
        self._tenant = tenant
        self._inner: InnerEnd | None = None
        self._owner_has_ended = False
        self.wheel_tick = 0

    def make_inner(self) -> "InnerEnd":
        """The protocol of the inner end."""
        return InnerEnd(self, self._splices.scheduler.first)

    # -- what the peer sends ------------------------------------------------------------------

    @property
    def receive_buffer(self) -> memoryview:
        return self._splices.scheduler.whole

    def process_read(self, nbytes: int) -> None:
        if self._inner is not None:
            self._inner.write(bytes(self.receive_buffer[:nbytes]))

    def connected(self, inner: "InnerEnd") -> None:
        """The inner end is there: begin to read the peer, if that is still there."""
        if self._transport.is_closing():
            inner.abort()
            return
        self._inner = inner
        self._transport.resume_reading()
        if self._transport.get_write_buffer_size():  # since before it was handed over
            self.pause_writing()

    def read_peer(self, *, paused: bool) -> None:
        """Read the peer only while the inner end has nothing to send."""
        if not self._transport.is_closing():
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def eof_received(self) -> bool:
        """The peer has ended its side: tell the owner, which may still answer earlier bytes.

        Returns whether the connection stays open. If the owner has ended its side as well, nothing
        would tell this process that the owner has closed its end: that was read to its end before.
        """
        if self._inner is None or self._transport.is_closing():
            return False
        self._inner.peer_ended()
        return not self._owner_has_ended

    def connection_lost(self, exc: Exception | None) -> None:
        splices = self._splices
        splices.wheel.cancel(self)
        splices.held.tls.hold(self, 0)
        splices.ended(self)
        self._ending.ended(exc if self._cause is None else Aborted(self._cause))
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.peer_gone(exc)

    # -- what the owner sends -----------------------------------------------------------------

    def write(self, data: memoryview) -> None:
        """Send to the peer."""
        self._transport.write(data)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.read_owner(paused=True)

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.read_owner(paused=False)

    def owner_ended(self, *, whole: bool) -> None:
        """The owner has ended its side, or both sides (``whole``).

        The peer has some time to do the same. Its end is not reported again, so the connection is
        dropped after that time.
        """
        if whole and self._ending.is_aborted():
            self.abort()
            return
        if not self._transport.is_closing():
            if whole:
                self._transport.close()
            else:
                self._owner_has_ended = True
                self._transport.write_eof()
                self._transport.resume_reading()
        self._splices.wheel.after(self, self._splices.linger)

    def on_timer(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    # -- what is held -------------------------------------------------------------------------

    def hold_undecrypted(self, size: int) -> None:
        """TLS keeps this number of bytes of the peer; this may end any connection."""
        self._splices.held.tls.hold(self, size)

    def held_for(self, kind: Kind) -> tuple[str, str]:
        """See :class:`fastrelay.policy.held_bytes.Holder`."""
        return self._address, self._tenant

    def evict(self, kind: Kind) -> None:
        """Drop the held bytes, and the connection with them."""
        self._splices.held.tls.hold(self, 0)
        self._cause = Cause.MEMORY_LIMIT
        self.abort()


class InnerEnd(asyncio.BufferedProtocol):
    """The protocol of this process's end of the pair.

    Args:
        buffer: what is read at once; shared by all.
    """

    __slots__ = ("_buffer", "_outer", "_transport")

    def __init__(self, outer: OuterEnd, buffer: memoryview) -> None:
        self._outer: OuterEnd | None = outer  # until it is gone
        self._buffer = buffer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the interface, but not the base class.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        if self._outer is not None:
            self._outer.connected(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._outer is not None:
            self._outer.write(self._buffer[:nbytes])

    def write(self, data: bytes) -> None:
        """Send to the owner."""
        self._transport.write(data)

    def pause_writing(self) -> None:
        if self._outer is not None:
            self._outer.read_peer(paused=True)

    def resume_writing(self) -> None:
        if self._outer is not None:
            self._outer.read_peer(paused=False)

    def peer_ended(self) -> None:
        """The peer has ended its side. The owner ends its own side when it has sent everything."""
        if not self._transport.is_closing():
            self._transport.write_eof()

    def read_owner(self, *, paused: bool) -> None:
        """Read the owner only while the peer takes what it is sent."""
        if not self._transport.is_closing():
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def eof_received(self) -> bool:
        if self._outer is not None:
            self._outer.owner_ended(whole=self._is_hung_up())
        return True  # keep it open: the peer may still send

    def _is_hung_up(self) -> bool:
        """Whether the owner has closed its end, and not only ended what it sends."""
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), 0)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def connection_lost(self, exc: Exception | None) -> None:
        outer, self._outer = self._outer, None
        if outer is not None:
            outer.owner_ended(whole=True)

    def peer_gone(self, exc: Exception | None) -> None:
        """The peer's connection is gone: what it sent before still goes to the owner."""
        if exc is None:
            self._outer = None
            self._transport.close()
        else:
            self.abort()

    def abort(self) -> None:
        """Drop what is left to send to the owner, too."""
        self._outer = None
        self._transport.abort()
