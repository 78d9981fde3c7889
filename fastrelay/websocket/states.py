"""The states of a connection's closing handshake (RFC 6455 §7), and what leads from one to another.

    OPEN ──close frame sent──▶ CLOSING ──close frame received──▶ CLOSED
      └──────close frame received, or the socket is gone───────────▲

In ``CLOSING`` frames are still read, and data goes nowhere. In ``CLOSED`` the handler has been told
of the end; the transport may still have bytes to hand to the kernel.
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where a connection is."""

    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class Event(Enum):
    """What moves it."""

    CLOSE_SENT = auto()
    ENDED = auto()
    """The peer's close frame has come, or the socket is gone or dropped."""


TRANSITIONS: Final = {
    State.OPEN: {Event.CLOSE_SENT: State.CLOSING, Event.ENDED: State.CLOSED},
    State.CLOSING: {Event.ENDED: State.CLOSED},
    State.CLOSED: {},
}
"""What is not in the table cannot happen: no second close frame is sent, nothing ends twice."""
