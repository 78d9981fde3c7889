"""The interface through which routing asks for push wakes."""

from typing import Protocol


class Waker(Protocol):
    """Sends or drops the push wakes that binaries ask for."""

    def wake(self, server_id: str, binary_conn_id: str, request: bytes) -> None:
        """Wake the device that ``request`` names, a ``push_wake`` object as JSON; never waits."""
