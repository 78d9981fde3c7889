"""Hands admitted connections to the workers that own their server-ids, before the 101.

There is one socket for each ordered pair of workers. The sender writes one message for each
connection, with the descriptor of the connection's socket. The receiver answers whether it has
adopted the connection; one message may answer for several. Until then the sender keeps its
transport, and does not read from it.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from fastrelay.address import nested_keys
from fastrelay.http.responses import Response, retry_later
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net import packets
from fastrelay.net.splice import Splices, splice_pair
from fastrelay.net.tls.layer import TlsLayer
from fastrelay.policy.counters.tallies import Tallies
from fastrelay.policy.pending import PendingConnections
from fastrelay.policy.shared.connections import SharedConnections, Transfer
from fastrelay.policy.shared.endings import SharedEndings
from fastrelay.server.admitted import Admitted
from fastrelay.server.handed_over import HandedOver, decode_answers, encode

RETRY_AFTER: Final = 2
"""Seconds after which a client may try again if the owner was not available. A restart of a worker
takes one second."""

OWNER_AWAY: Final = retry_later(RETRY_AFTER)


class _Handing:
    """One connection on its way to another worker; an item of the timer wheel."""

    __slots__ = (
        "_refuse",
        "_way",
        "admitted",
        "inner",
        "is_waiting",
        "keys",
        "transfer",
        "until",
        "wheel_tick",
    )

    def __init__(
        self, admitted: Admitted, refuse: Callable[[Response], None], way: "Outgoing", until: float
    ) -> None:
        self.admitted = admitted
        self.keys = nested_keys(admitted.client)
        self._refuse = refuse
        self._way = way
        self.until = until
        self.is_waiting = False
        self.transfer: Transfer | None = None
        self.inner: socket.socket | None = None  # of a splice, if the transport does TLS
        self.wheel_tick = 0

    def on_timer(self) -> None:
        """The owner has not answered in time: give the connection up."""
        self._way.give_up(self)

    def abort(self) -> None:
        """Drop the connection: too many connections are not upgraded yet, or the drain begins."""
        self._way.drop(self)

    def close_inner(self) -> None:
        """Close this process's end of the pair, because there will be no splice."""
        if self.inner is not None:
            self.inner.close()
            self.inner = None

    def refuse(self) -> None:
        """Answer with 503 here."""
        self.close_inner()
        self._refuse(OWNER_AWAY)


class Outgoing:
    """Hands connections to one other worker.

    Args:
        receiver: the number of that worker.
        counted: counts the connections that are being handed over.
        endings: how spliced connections end.
        pending: counts these connections as not upgraded yet, until they are adopted.
        splices: splices the TLS connections that were adopted.
        patience: seconds until the sender answers with 503 itself.
        tallies: where attempts are counted that could not be handed over.
    """

    def __init__(
        self,
        receiver: int,
        sock: socket.socket,
        counted: SharedConnections,
        endings: SharedEndings,
        wheel: TimerWheel,
        pending: PendingConnections,
        splices: Splices,
        patience: float,
        tallies: Tallies,
    ) -> None:
        self._receiver = receiver
        self._sock = sock
        self._counted = counted
        self._endings = endings
        self._wheel = wheel
        self._pending = pending
        self._splices = splices
        self._patience = patience
        self._tallies = tallies
        self._loop = asyncio.get_running_loop()
        self._sent: dict[Transfer, _Handing] = {}
        self._waiting: deque[_Handing] = deque()
        self._buffer = packets.receive_buffer()
        self._takes_more = True
        self.is_open = True
        self._loop.add_reader(sock, self._read_answers)

    def hand_over(self, admitted: Admitted, refuse: Callable[[Response], None]) -> None:
        """Hand a connection over; it is answered, here or there, within ``patience``."""
        if not self._takes_more:
            self._tallies.owner_away += 1
            refuse(OWNER_AWAY)
            return
        if admitted.transport.is_closing():
            return
        admitted.transport.pause_reading()
        handing = _Handing(admitted, refuse, self, self._loop.time() + self._patience)
        self._wheel.after(handing, self._patience)
        self._pending.add(handing, admitted.client)
        if self._waiting or not self._send(handing):
            handing.is_waiting = True
            self._waiting.append(handing)
            self._counted.waits(handing.keys)

    def _send(self, handing: _Handing) -> bool:
        """Send it, unless it has ended while it waited; returns whether that was possible now."""
        if handing.admitted.transport.is_closing():
            self._end(handing)
            return True
        transfer = self._counted.begin(self._receiver, handing.keys)
        if transfer is None:
            return False
        message = HandedOver.of(handing.admitted, transfer, handing.until)
        try:
            sent = self._send_message(handing, encode(message))
        except OSError:
            self._counted.end(self._receiver, transfer)
            self._end(handing)
            self._cannot(handing)
            return True
        if not sent:
            self._counted.end(self._receiver, transfer)
            return False
        handing.transfer = transfer
        self._sent[transfer] = handing
        return True

    def _send_message(self, handing: _Handing, content: bytes) -> bool:
        """Send it with the connection's socket, or with one end of a pair if this does TLS."""
        sock = handing.admitted.sock
        assert sock is not None  # it was accepted here
        if not isinstance(handing.admitted.transport, TlsLayer):
            return packets.send(self._sock, content, (sock.fileno(),))
        inner, passed = splice_pair()
        with passed:
            try:
                # The owner asks the kernel about the peer's TCP connection.
                sent = packets.send(self._sock, content, (passed.fileno(), sock.fileno()))
            except OSError:
                inner.close()
                raise
        if sent:
            handing.inner = inner
        else:
            inner.close()
        return sent

    def _read_answers(self) -> None:
        try:
            while (packet := packets.receive(self._sock, self._buffer)) is not None:
                for adopted, place, number in decode_answers(packet.content):
                    self._answered(Transfer(place, number), adopted=adopted)
        except BlockingIOError:
            pass
        except (OSError, packets.BrokenPacket, msgspec.MsgspecError):
            self.close()
        else:
            self.close()
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self.is_open:
            handing = self._waiting[0]
            if not self._send(handing):
                return
            self._waits_no_more(handing)

    def _waits_no_more(self, handing: _Handing) -> None:
        if handing.is_waiting:
            handing.is_waiting = False
            self._waiting.remove(handing)
            self._counted.waits_no_more(handing.keys)

    def _answered(self, transfer: Transfer, *, adopted: bool) -> None:
        handing = self._sent.get(transfer)
        if handing is None:
            return  # it came too late, and the place was given back
        self._end(handing)
        if adopted:
            self._let_go(handing, transfer)
        elif self._loop.time() < handing.until:
            handing.refuse()
        else:
            self._cannot(handing)

    def _let_go(self, handing: _Handing, transfer: Transfer) -> None:
        """The owner has the connection, and with TLS one end of its splice."""
        admitted = handing.admitted
        if handing.inner is None:
            # The socket is shared with the owner now, so this sends nothing to the peer.
            admitted.transport.abort()
            return
        assert isinstance(admitted.transport, TlsLayer)
        inner, handing.inner = handing.inner, None
        self._splices.join(
            admitted.transport,
            inner,
            self._endings.of(self._receiver, transfer.number),
            admitted.client,
            admitted.server_id,
        )

    def give_up(self, handing: _Handing) -> None:
        """Answer with 503, unless the owner has begun to answer the peer."""
        if not self._has_begun(handing):
            self._cannot(handing)

    def drop(self, handing: _Handing) -> None:
        """Drop the connection, unless the owner has begun to answer it."""
        if not self._has_begun(handing):
            handing.close_inner()
            handing.admitted.transport.abort()

    def _has_begun(self, handing: _Handing) -> bool:
        """End the hand-over; returns whether the owner has begun to answer the peer."""
        transfer = handing.transfer
        has_begun = self._end(handing)
        if has_begun and transfer is not None:
            self._let_go(handing, transfer)
        return has_begun

    def _cannot(self, handing: _Handing) -> None:
        """Count and answer with 503. An owner that refuses in time has counted that itself."""
        self._tallies.owner_away += 1
        handing.refuse()

    def _end(self, handing: _Handing) -> bool:
        """Stop counting the connection; returns whether the owner has begun to answer the peer."""
        self._wheel.cancel(handing)
        self._pending.discard(handing)
        self._waits_no_more(handing)
        transfer, handing.transfer = handing.transfer, None
        has_begun = False
        if transfer is not None:
            self._sent.pop(transfer, None)
            has_begun = self._counted.end(self._receiver, transfer)
        return has_begun

    def stop(self) -> None:
        """Hand no more connections over; those that were sent may still be adopted."""
        self._takes_more = False
        for handing in tuple(self._waiting):
            self.give_up(handing)

    def close(self) -> None:
        """The other worker is gone: answer all connections that it has not adopted with 503."""
        if not self.is_open:
            return
        self.is_open = self._takes_more = False
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for handing in (*self._sent.values(), *self._waiting):
            self.give_up(handing)
