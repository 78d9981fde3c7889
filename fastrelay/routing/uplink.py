"""The interface to which a phone sends its messages."""

from collections.abc import Sequence
from typing import Protocol

from fastrelay.protocol.frames import Piece
from fastrelay.websocket.send_queue import FlushMarker


class Uplink(Protocol):
    """The way from a phone to its binary: in this process, the binary's connection."""

    def send(self, pieces: Sequence[Piece], frames: int) -> bool:
        """Send whole frames; returns whether they were taken."""

    def send_frame(self, frame: bytes) -> bool:
        """Send one frame in one piece; returns whether it was taken."""

    def notify_when_flushed(self, marker: FlushMarker) -> None:
        """Call ``marker`` when everything sent until now has been flushed."""
