"""Frames that wait because the kernel takes no more of a connection's bytes."""

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from fastrelay.protocol.frames import Piece

FRAME_CHARGE: Final = 64
"""What a queued data frame is charged on top of its bytes (protocol, frames)."""


class FlushMarker(Protocol):
    """Waits in the queue like a frame, and is told when everything before it has been flushed."""

    def flushed(self) -> None:
        """Everything queued before is with the kernel."""


class SendQueue:
    """A queue of whole frames that knows what it holds.

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
        """Queue a control frame ahead of everything (RFC 6455 §5.4 lets it pass between)."""
        self._entries.appendleft(((control,), 0, None))
        self.charged += len(control)

    def add_marker(self, marker: FlushMarker) -> None:
        """Queue a marker; :meth:`take_slice` tells it when its turn comes."""
        self._entries.append(((), 0, marker))

    def take_slice(self, size: int) -> tuple[list[Piece], int]:
        """Remove at least ``size`` bytes, if there are, as pieces and the data frames in them.

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
        """How many data frames wait."""
        return sum(frames for _, frames, _ in self._entries)


def _charge(pieces: Sequence[Piece], frames: int) -> int:
    return sum(map(len, pieces)) + FRAME_CHARGE * frames
