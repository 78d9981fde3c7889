"""The interface to which a phone sends its messages."""

from collections.abc import Sequence
from typing import Protocol

from fastrelay.protocol.frames import Piece
from fastrelay.websocket.send_queue import FlushMarker, Owner


class Uplink(Protocol):
    """The way from a phone to its binary: in this process, the binary's connection.

    Attributes:
        blocked: bytes wait for the binary, so what is sent now waits as well.
    """

    blocked: bool

    @property
    def address(self) -> str:
        """The binary's address, as limits know it."""

    @property
    def unsent(self) -> int:
        """The bytes that wait for the binary, of all its phones."""

    def send(self, pieces: Sequence[Piece], frames: int, owner: Owner) -> bool:
        """Send whole frames of ``owner``; returns whether they were taken."""

    def send_frame(self, frame: bytes, owner: Owner) -> bool:
        """Send one frame in one piece; returns whether it was taken."""

    def drop_waiting(self, owner: Owner) -> int:
        """Drop the frames of ``owner`` that wait; returns how many."""

    def notify_when_flushed(self, marker: FlushMarker, owner: Owner) -> None:
        """Call ``marker`` when everything that ``owner`` sent until now has been flushed."""
