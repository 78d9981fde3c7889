"""The interface through which a connection tells the phone or binary on it what happens."""

from typing import Final, Protocol

from fastrelay.protocol.ending import Ending


class Handler(Protocol):
    """Gives a connection's messages a meaning.

    Attributes:
        server_id: the tenant that the connection belongs to.
    """

    server_id: str

    def on_messages(self, messages: list[bytes]) -> None:
        """Process the complete messages of one read, in order: at least one, usually just one."""

    def on_ignored(self, count: int) -> None:
        """Count messages that came after the relay's close frame and are dropped."""

    def on_pong(self, payload: bytes) -> None:
        """The peer sent a pong, whether it answers a ping or not, and is not leaving."""

    def on_backlog(self, unsent: int) -> None:
        """The number of bytes that wait in this process for the peer has changed to ``unsent``."""

    def on_write_stalled(self) -> None:
        """The peer has acknowledged no byte for the write interval; called once."""

    def on_closing(self, ending: Ending) -> None:
        """The connection begins to end; called exactly once, before :meth:`on_closed`.

        After this, no message from the peer and no message for it is accepted.
        """

    def on_undelivered(self, frames: int) -> None:
        """This number of queued data frames for the peer is dropped."""

    def on_closed(self) -> None:
        """The connection is over; called exactly once."""


class _NullHandler:
    """The handler of a connection that has ended, so that no reference cycle is left."""

    server_id = ""

    def on_messages(self, messages: list[bytes]) -> None: ...
    def on_ignored(self, count: int) -> None: ...
    def on_pong(self, payload: bytes) -> None: ...
    def on_backlog(self, unsent: int) -> None: ...
    def on_write_stalled(self) -> None: ...
    def on_closing(self, ending: Ending) -> None: ...
    def on_undelivered(self, frames: int) -> None: ...
    def on_closed(self) -> None: ...


NULL_HANDLER: Final = _NullHandler()
