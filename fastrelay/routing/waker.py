"""What routing needs of push."""

from typing import Protocol


class Waker(Protocol):
    """What becomes of a binary's wish to wake a phone."""

    def wake(self, server_id: str, binary_conn_id: str, request: bytes) -> None:
        """Wake the device that ``request``, a ``push_wake`` object as JSON, names. At once."""
