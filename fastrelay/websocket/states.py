"""The states of a connection's closing handshake (RFC 6455 §7), and the transitions between them.

    OPEN ──close frame sent──▶ CLOSING ──close frame received──▶ CLOSED
      └──────close frame received, or the socket is gone───────────▲

In ``CLOSING`` frames are still read, but their data is dropped. In ``CLOSED`` the handler has been
told of the end; the transport may still have bytes to hand to the kernel.
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """The state of a connection's closing handshake."""

    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class Event(Enum):
    """What changes the state."""

    CLOSE_SENT = auto()
    ENDED = auto()
    """The peer's close frame has come, or the socket is gone or dropped."""


TRANSITIONS: Final = {
    State.OPEN: {Event.CLOSE_SENT: State.CLOSING, Event.ENDED: State.CLOSED},
    State.CLOSING: {Event.ENDED: State.CLOSED},
    State.CLOSED: {},
}
"""Other transitions raise ``KeyError``: no second close frame is sent, no connection ends twice."""
