"""Frames that wait because the kernel takes no more of a connection's bytes."""

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from fastrelay.protocol.frames import Piece

FRAME_CHARGE: Final = 64
"""What a queued data frame is charged on top of its bytes (protocol, frames)."""


class Stopwatch(Protocol):
    """Waits in the queue like a frame, to be told when its turn comes."""

    def stop(self) -> None:
        """Everything queued before is with the kernel."""


class Backlog:
    """A queue of whole frames that knows what it holds.

    Attributes:
        charged: bytes queued, plus :data:`FRAME_CHARGE` for each data frame.
    """

    __slots__ = ("_entries", "charged")

    def __init__(self) -> None:
        self._entries: deque[tuple[Sequence[Piece], int, Stopwatch | None]] = deque()
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

    def mark(self, stopwatch: Stopwatch) -> None:
        """Stop it when something is to be taken and all that is queued now is with the kernel."""
        self._entries.append(((), 0, stopwatch))

    def take(self, size: int) -> tuple[list[Piece], int]:
        """Remove at least ``size`` bytes, if there are, as pieces and the data frames in them.

        What was taken before must be with the kernel: that is what a mark tells of, so less is
        returned where there is one.
        """
        taken: list[Piece] = []
        frames = length = 0
        while self._entries and length < size:
            if (stopwatch := self._entries[0][2]) is not None:
                if taken:
                    break
                stopwatch.stop()
            pieces, count, _ = self._entries.popleft()
            taken += pieces
            frames += count
            length += sum(map(len, pieces))
            self.charged -= _charge(pieces, count)
        return taken, frames

    def count_frames(self) -> int:
        """How many data frames wait."""
        return sum(frames for _, frames, _ in self._entries)


def _charge(pieces: Sequence[Piece], frames: int) -> int:
    return sum(map(len, pieces)) + FRAME_CHARGE * frames
