"""The queue of frames that wait until the kernel takes more bytes of a connection."""

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from fastrelay.protocol.frames import Piece

FRAME_CHARGE: Final = 64
"""Bytes added to the length of each queued data frame, for its objects (protocol, frames)."""


class FlushMarker(Protocol):
    """An entry of the queue that is called when everything before it has been flushed."""

    def flushed(self) -> None:
        """The kernel has taken everything that was queued before the marker."""


class SendQueue:
    """A queue of whole frames that keeps the sum of their bytes.

    Attributes:
        charged: bytes queued, plus :data:`FRAME_CHARGE` for each data frame.
    """

    __slots__ = ("_entries", "charged")

    def __init__(self) -> None:
        self._entries: deque[tuple[Sequence[Piece], int, FlushMarker | None]] = deque()
        self.charged = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def append(self, pieces: Sequence[Piece], frames: int) -> None:
        """Queue ``frames`` data frames (0: a control frame) made of ``pieces``."""
        self._entries.append((pieces, frames, None))
        self.charged += _charge(pieces, frames)

    def put_first(self, control: bytes) -> None:
        """Queue a control frame before everything else, which RFC 6455 §5.4 allows."""
        self._entries.appendleft(((control,), 0, None))
        self.charged += len(control)

    def add_marker(self, marker: FlushMarker) -> None:
        """Queue a marker; :meth:`take_slice` calls it when everything before it is flushed."""
        self._entries.append(((), 0, marker))

    def take_slice(self, size: int) -> tuple[list[Piece], int]:
        """Remove at least ``size`` bytes, or all; returns pieces and the number of data frames.

        Call only when the previous slice has been flushed. A slice never crosses a marker, so a
        marker fires exactly when everything queued before it has been flushed.
        """
        pieces: list[Piece] = []
        frames = length = 0
        while self._entries and length < size:
            if (marker := self._entries[0][2]) is not None:
                if pieces:
                    break
                marker.flushed()
            entry, count, _ = self._entries.popleft()
            pieces += entry
            frames += count
            length += sum(map(len, entry))
            self.charged -= _charge(entry, count)
        return pieces, frames

    def count_frames(self) -> int:
        """The number of data frames in the queue."""
        return sum(frames for _, frames, _ in self._entries)


def _charge(pieces: Sequence[Piece], frames: int) -> int:
    return sum(map(len, pieces)) + FRAME_CHARGE * frames
