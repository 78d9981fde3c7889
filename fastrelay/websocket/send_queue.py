"""The queue of frames that wait until the kernel takes more bytes of a connection."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, Protocol

from fastrelay.protocol.frames import Piece

FRAME_CHARGE: Final = 64
"""Bytes added to the length of each queued data frame, for its objects (protocol, frames)."""


class FlushMarker(Protocol):
    """An entry of the queue that is called when everything before it has been flushed."""

    def flushed(self) -> None:
        """The kernel has taken everything that was queued before the marker."""


class Owner(Protocol):
    """Where queued frames come from. It must be hashable by identity."""

    def on_queued(self, size: int) -> None:
        """So many bytes of the owner's frames wait in the queue now."""


class SendQueue:
    """A queue of whole frames that knows what it holds, and for whom.

    An entry takes three places: its pieces, its number of data frames, and its owner. Small frames
    come in masses, so there is no object for an entry. A marker is an entry without pieces, in the
    place of the owner.

    Attributes:
        charged: bytes queued, plus :data:`FRAME_CHARGE` for each data frame.
        owned: that part of it which has an owner.
    """

    __slots__ = ("_by_owner", "_entries", "charged", "owned")

    def __init__(self) -> None:
        self._entries: deque[Any] = deque()
        self._by_owner: dict[Owner, int] = {}
        self.charged = 0
        self.owned = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def append(self, pieces: Sequence[Piece], frames: int, owner: Owner | None = None) -> None:
        """Queue ``frames`` data frames (0: a control frame) made of ``pieces``."""
        self._entries += (pieces[0] if len(pieces) == 1 else pieces, frames, owner)
        charge = _charge(pieces, frames)
        self.charged += charge
        if owner is not None:
            self._change(owner, charge)

    def put_first(self, control: bytes) -> None:
        """Queue a control frame ahead of everything (RFC 6455 §5.4 lets it pass between)."""
        self._entries.extendleft((None, 0, control))
        self.charged += len(control)

    def add_marker(self, marker: FlushMarker) -> None:
        """Queue a marker; :meth:`take_slice` tells it when its turn comes."""
        self._entries += (None, 0, marker)

    def take_slice(self, size: int) -> tuple[list[Piece], int]:
        """Remove at least ``size`` bytes, or all; returns pieces and the number of data frames.

        Call only when the previous slice has been flushed. A slice never crosses a marker, so a
        marker fires exactly when everything queued before it has been flushed.
        """
        pieces: list[Piece] = []
        frames = length = 0
        given_back: dict[Owner, int] = {}
        while self._entries and length < size:
            if self._entries[0] is None:
                if pieces:
                    break
                self._pop()[2].flushed()
                continue
            payload, count, owner = self._pop()
            entry = _pieces(payload)
            charge = _charge(entry, count)
            pieces += entry
            frames += count
            length += charge - FRAME_CHARGE * count
            self.charged -= charge
            if owner is not None:
                given_back[owner] = given_back.get(owner, 0) - charge
        for owner, charge in given_back.items():
            self._change(owner, charge)
        return pieces, frames

    def drop(self, owner: Owner) -> int:
        """Remove all that has this owner; returns how many data frames that were."""
        kept: deque[Any] = deque()
        frames = charged = 0
        while self._entries:
            payload, count, whose = entry = self._pop()
            if whose is owner:
                frames += count
                charged += _charge(_pieces(payload), count)
            else:
                kept += entry
        self._entries = kept
        self.charged -= charged
        if charged:
            self._change(owner, -charged)
        return frames

    def count_frames(self) -> int:
        """How many data frames wait."""
        return sum(islice(self._entries, 1, None, 3))

    def forget(self) -> int:
        """The queue is given up; returns how many data frames were in it."""
        for owner in tuple(self._by_owner):
            self._change(owner, -self._by_owner[owner])
        frames = self.count_frames()
        self._entries.clear()
        self.charged = 0
        return frames

    def _pop(self) -> tuple[Any, int, Any]:
        take = self._entries.popleft
        return take(), take(), take()

    def _change(self, owner: Owner, charge: int) -> None:
        size = self._by_owner.pop(owner, 0) + charge
        if size:
            self._by_owner[owner] = size
        self.owned += charge
        owner.on_queued(size)


def _pieces(payload: Any) -> Sequence[Piece]:
    """An entry's pieces; one alone is queued as it is."""
    return (payload,) if isinstance(payload, bytes | memoryview) else payload


def _charge(pieces: Sequence[Piece], frames: int) -> int:
    return sum(map(len, pieces)) + FRAME_CHARGE * frames
