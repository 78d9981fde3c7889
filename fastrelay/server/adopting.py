"""Adopts connections that other workers have accepted: the receiving side of a handover.

A transport is made only for a connection that can be served now, because uvloop begins to read at
once.
"""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, cast

import msgspec

from fastrelay.loop.internal_errors import report
from fastrelay.net import packets
from fastrelay.net.accepted import AcceptedSocket
from fastrelay.net.far_end import FarEnd
from fastrelay.policy.shared.connections import SharedConnections
from fastrelay.policy.shared.endings import SharedEndings
from fastrelay.server.admitted import Admitted
from fastrelay.server.handed_over import HandedOver, decode

_MOST_AT_ONCE: Final = 16
"""Connections that are adopted in one iteration of the event loop."""

_ANSWERS_AT_ONCE: Final = 24
_ANSWER_DELAY: Final = 0.005
"""Seconds for which adoptions wait for others, to be reported in one message: most of the cost of a
message is that it wakes the other process. A peer over plain TCP does not wait for the message.
Over TLS the sender begins to splice when it gets it, so the 101 may arrive this much later."""


def _stream(descriptor: int) -> socket.socket:
    """A socket that owns the descriptor, which does not block, since it did not in its sender.

    Python's own class would ask the kernel for more, which takes 10 µs a connection.
    """
    unknown_family, any_protocol = -1, 0
    made = AcceptedSocket(unknown_family, socket.SOCK_STREAM, any_protocol, descriptor)
    return cast("socket.socket", made)


class Adopter(Protocol):
    """Makes connections for the server-ids of this worker."""

    def adopt(self, admitted: Admitted) -> None:
        """See :meth:`fastrelay.server.owner.Owner.adopt`."""


class Incoming:
    """Receives the connections of one other worker.

    Args:
        sender: the number of that worker.
        may_adopt: whether there is room for one more connection, which has arrived or not.
    """

    def __init__(
        self,
        sender: int,
        sock: socket.socket,
        counted: SharedConnections,
        endings: SharedEndings,
        owner: Adopter,
        may_adopt: Callable[[bool], bool],
    ) -> None:
        self._sender = sender
        self._sock = sock
        self._counted = counted
        self._endings = endings
        self._owner = owner
        self._may_adopt = may_adopt
        self._loop = asyncio.get_running_loop()
        self._buffer = packets.receive_buffer()
        self._adopting: set[asyncio.Task[object]] = set()
        self._answers: list[tuple[bool, int, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.is_open = True
        self._loop.add_reader(sock, self._read)

    def _read(self) -> None:
        try:
            for _ in range(_MOST_AT_ONCE):
                packet = packets.receive(self._sock, self._buffer, _stream)
                if packet is None:
                    self.close()
                    return
                self._received(packet)
        except BlockingIOError:
            pass
        except OSError:
            self.close()  # the other worker is gone, and had answers of this one to read
        except (packets.BrokenPacket, msgspec.MsgspecError, ValueError) as error:
            report(error)
            self.close()

    def _received(self, packet: packets.Packet) -> None:
        try:
            message = decode(packet.content)
        except (msgspec.MsgspecError, ValueError):
            packet.close()
            raise
        arrived = bool(packet.sockets)
        if self._loop.time() >= message.until or not self._may_adopt(arrived):
            packet.close()
            self._answer(message, adopted=False)
            return
        sock, *rest = cast("tuple[AcceptedSocket, ...]", packet.sockets)
        far_end = None
        if rest:
            far_end = FarEnd(rest[0], self._endings.of(self._sender, message.number))
        adopting = _Adopting(self, message, sock, far_end)
        making = self._loop.connect_accepted_socket(lambda: adopting, cast("socket.socket", sock))
        task: asyncio.Task[object] = self._loop.create_task(making)
        self._adopting.add(task)
        task.add_done_callback(partial(self._made, adopting))

    def adopt(
        self,
        message: HandedOver,
        transport: asyncio.Transport,
        sock: AcceptedSocket,
        far_end: FarEnd | None,
    ) -> None:
        """Write the 101 and make the connection, unless the sender has given it up."""
        if self._counted.adopt(self._sender, message.transfer):
            self._owner.adopt(message.admitted(transport, sock, far_end))
            return
        transport.abort()  # the sender shares the socket, so this sends nothing to the peer
        if far_end is not None:
            far_end.close()

    def _made(self, adopting: "_Adopting", task: "asyncio.Task[object]") -> None:
        self._adopting.discard(task)
        # A connection that failed is at its end too: the sender has nothing to answer any more.
        if (task.cancelled() or task.exception() is not None) and adopting.far_end is not None:
            adopting.far_end.close()
        self._answer(adopting.message, adopted=True)

    def _answer(self, message: HandedOver, *, adopted: bool) -> None:
        """Tell the sender: a refusal at once, an adoption after a short wait for others."""
        self._answers.append((adopted, message.place, message.number))
        if not adopted or len(self._answers) >= _ANSWERS_AT_ONCE:
            self._send_answers()
        elif self._timer is None:
            self._timer = self._loop.call_later(_ANSWER_DELAY, self._send_answers)

    def _send_answers(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answers, self._answers = self._answers, []
        if self.is_open:
            try:
                packets.send(self._sock, msgspec.msgpack.encode(answers))
            except OSError:
                self.close()

    def close(self) -> None:
        """The other worker is gone."""
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._sock)
            self._sock.close()
            if self._timer is not None:
                self._timer.cancel()


class _Adopting(asyncio.Protocol):
    """The first protocol of a connection that was handed over: it becomes a WebSocket at once."""

    def __init__(
        self, way: Incoming, message: HandedOver, sock: AcceptedSocket, far_end: FarEnd | None
    ) -> None:
        self._way = way
        self._sock = sock
        self.message = message
        self.far_end = far_end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the interface, but not the base class.
        made = cast("asyncio.Transport", transport)
        self._way.adopt(self.message, made, self._sock, self.far_end)
