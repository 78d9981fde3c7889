"""The queue of frames that wait until the kernel takes more bytes of a connection."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol

from fastrelay.protocol.frames import Piece

FRAME_CHARGE: Final = 64
"""Bytes added to the length of each queued data frame, for its objects (protocol, frames)."""

TURN_BYTES: Final = 16 * 1024
"""What an owner may send in its turn; the frame that exceeds it is sent whole."""


class FlushMarker(Protocol):
    """An entry of the queue that is called when everything before it has been flushed."""

    def flushed(self) -> None:
        """The kernel has taken everything that was queued before the marker."""


class EndOfStream:
    """The marker that ends the relay's side of TCP."""

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport

    def flushed(self) -> None:
        """End it behind what has been flushed."""
        self._transport.write_eof()


class Owner(Protocol):
    """Where queued frames come from. It must be hashable by identity."""

    def on_queued(self, size: int) -> None:
        """This number of bytes of the owner's frames waits in the queue."""

    def on_lost(self, frames: int, others: int) -> None:
        """The queue is dropped, with these numbers of the owner's data frames and other frames."""


class _Flow:
    """The frames of one owner, in order.

    An entry takes two places: its pieces and its number of data frames. Small frames come in
    masses, so there is no object for an entry. A marker is an entry whose pieces are ``None``, in
    the place of the number.

    Attributes:
        charged: bytes queued, plus :data:`FRAME_CHARGE` for each data frame.
        credit: the bytes that the owner may send in this turn; below 0: what it has sent too much.
    """

    __slots__ = ("charged", "credit", "entries", "owner")

    def __init__(self, owner: Owner | None) -> None:
        self.owner = owner
        self.entries: deque[Any] = deque()
        self.charged = 0
        self.credit = TURN_BYTES


class SendQueue:
    """A queue of whole frames that knows what it holds, and serves their owners in rotation.

    The frames of one owner keep their order, and so do the frames without an owner. Owners take
    turns of :data:`TURN_BYTES`. If an owner sends more, because a frame is larger, the excess is
    subtracted from its next turns (surplus round robin). An owner that has had nothing in the queue
    for a rotation comes first, so that a conversation does not wait for floods (like a new flow in
    FQ-CoDel, RFC 8290).

    Attributes:
        charged: bytes queued, plus :data:`FRAME_CHARGE` for each data frame.
        owned: that part of it which has an owner.
        unanswered_ping: the payload of the last ping that came while frames wait, if one did.
    """

    __slots__ = (
        "_entries",
        "_first",
        "_flows",
        "_last",
        "_turns",
        "charged",
        "owned",
        "unanswered_ping",
    )

    def __init__(self) -> None:
        self._flows: dict[Owner | None, _Flow] = {}
        self._turns: deque[_Flow] = deque()  # the same flows, in the order of their turns
        self._entries = 0  # how many there are in all flows
        self._first: deque[bytes] = deque()
        self._last = b""
        self.charged = 0
        self.owned = 0
        self.unanswered_ping: bytes | None = None

    def __bool__(self) -> bool:
        return bool(self._entries or self._first or self._last)

    def append(self, pieces: Sequence[Piece], frames: int, owner: Owner | None = None) -> None:
        """Queue ``frames`` data frames made of ``pieces``, behind all of the same owner.

        0 frames: one that is not charged as a data frame, and that :meth:`drop` leaves.
        """
        flow = self._flow(owner)
        flow.entries += (pieces[0] if len(pieces) == 1 else pieces, frames)
        self._entries += 1
        self._change(flow, _charge(pieces, frames))

    def put_first(self, control: bytes) -> None:
        """Queue a control frame ahead of everything (RFC 6455 §5.4 lets it pass between)."""
        self._first.appendleft(control)
        self.charged += len(control)

    def put_last(self, control: bytes) -> None:
        """Queue the close frame behind everything."""
        self._last = control
        self.charged += len(control)

    def add_marker(self, marker: FlushMarker, owner: Owner | None = None) -> None:
        """Queue a marker behind all of the owner; :meth:`take_slice` tells it in its turn."""
        self._flow(owner).entries += (None, marker)
        self._entries += 1

    def take_slice(self, size: int) -> tuple[list[Piece], int]:
        """Remove at least ``size`` bytes, or all; returns pieces and the number of data frames.

        Call only when the previous slice has been flushed. A slice never crosses a marker, so a
        marker fires exactly when everything of its owner before it has been flushed.
        """
        pieces: list[Piece] = []
        frames = length = 0
        while self._first and length < size:
            pieces.append(control := self._first.popleft())
            length += len(control)
        self.charged -= length
        given_back: dict[_Flow, int] = {}
        while self._entries and length < size:
            flow = self._next_flow()
            payload, count = flow.entries[0], flow.entries[1]
            if payload is None and pieces:
                break
            self._pop(flow)
            if payload is None:
                count.flushed()
                continue
            entry = _pieces(payload)
            charge = _charge(entry, count)
            pieces += entry
            frames += count
            taken = charge - FRAME_CHARGE * count
            flow.credit -= taken
            length += taken
            given_back[flow] = given_back.get(flow, 0) - charge
        if self._last and not self._entries and length < size:
            pieces.append(self._last)
            self.charged -= len(self._last)
            self._last = b""
        for flow, charge in given_back.items():
            self._change(flow, charge)
        return pieces, frames

    def _next_flow(self) -> _Flow:
        """The flow that is served now; there is an entry in some flow."""
        turns = self._turns
        while True:
            flow = turns[0]
            if len(turns) == 1:
                flow.credit = TURN_BYTES  # there is no other flow to share with
            if flow.credit > 0 and flow.entries:
                return flow
            if flow.credit >= TURN_BYTES:  # nothing came since its last turn
                del self._flows[flow.owner]
                turns.popleft()
                continue
            flow.credit = min(flow.credit + TURN_BYTES, TURN_BYTES)
            turns.rotate(-1)

    def drop(self, owner: Owner) -> int:
        """Remove the data frames of this owner; returns how many that were."""
        flow = self._flows.get(owner)
        if flow is None:
            return 0
        kept: deque[Any] = deque()
        frames = charged = 0
        while flow.entries:
            payload, count = self._pop(flow)
            if payload is None or not count:
                kept += (payload, count)
                self._entries += 1
            else:
                frames += count
                charged += _charge(_pieces(payload), count)
        flow.entries = kept
        if charged:
            self._change(flow, -charged)
        return frames

    def forget(self) -> int:
        """The queue is given up; returns how many data frames were in it."""
        frames = 0
        for flow in tuple(self._turns):
            lost = others = 0
            while flow.entries:
                payload, count = self._pop(flow)
                if payload is not None:
                    lost += count
                    others += not count
            if flow.charged:
                self._change(flow, -flow.charged)
            if flow.owner is not None and (lost or others):
                flow.owner.on_lost(lost, others)
            frames += lost
        self._first.clear()
        self._last = b""
        self.charged = 0
        return frames

    def _flow(self, owner: Owner | None) -> _Flow:
        flow = self._flows.get(owner)
        if flow is None:
            flow = self._flows[owner] = _Flow(owner)
            self._turns.appendleft(flow)
        return flow

    def _pop(self, flow: _Flow) -> tuple[Any, Any]:
        self._entries -= 1
        take = flow.entries.popleft
        return take(), take()

    def _change(self, flow: _Flow, charge: int) -> None:
        flow.charged += charge
        self.charged += charge
        if flow.owner is not None:
            self.owned += charge
            flow.owner.on_queued(flow.charged)


def _pieces(payload: Any) -> Sequence[Piece]:
    """An entry's pieces; one alone is queued as it is."""
    return (payload,) if isinstance(payload, bytes | memoryview) else payload


def _charge(pieces: Sequence[Piece], frames: int) -> int:
    return sum(map(len, pieces)) + FRAME_CHARGE * frames
