"""Limits on the number of connections, before and after the upgrade."""

import sys
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from fastrelay.address import bucket_key

Live = TypeVar("Live")


class LiveConnections(Generic[Live]):
    """Every live WebSocket of a relay, counted relay-wide and by client address.

    Args:
        most: the relay-wide cap.
        most_per_ip: the cap per address (IPv6: per /64); 0 for no cap.

    Attributes:
        refused: how often :meth:`has_room` refused because of the relay-wide cap, and how often
            because of the cap per address.
    """

    def __init__(self, most: int, most_per_ip: int = 0) -> None:
        self._most = most
        self._most_per_ip = most_per_ip
        self._keys: dict[Live, str] = {}
        self._by_key: dict[str, int] = {}
        self.refused = (0, 0)

    def __len__(self) -> int:
        """The number of live connections."""
        return len(self._keys)

    def __iter__(self) -> Iterator[Live]:
        """The connections, oldest first. It walks a copy, because closing one may remove it."""
        return iter(tuple(self._keys))

    def has_room(self, client: str) -> bool:
        """Whether one more connection of that address is allowed; a refusal is counted."""
        by_relay, by_address = self.refused
        if len(self._keys) >= self._most:
            self.refused = by_relay + 1, by_address
            return False
        if self._most_per_ip and self._by_key.get(bucket_key(client), 0) >= self._most_per_ip:
            self.refused = by_relay, by_address + 1
            return False
        return True

    def add(self, connection: Live, client: str) -> None:
        """Count a connection of the address ``client`` until :meth:`discard`."""
        key = sys.intern(bucket_key(client))  # one string for all connections of an address
        self._keys[connection] = key
        if key:
            self._by_key[key] = self._by_key.get(key, 0) + 1

    def address_of(self, connection: Live) -> str:
        """The key of the address of a connection; empty if it is not counted."""
        return self._keys.get(connection, "")

    def discard(self, connection: Live) -> None:
        """Stop counting a connection; no effect if it is not counted."""
        key = self._keys.pop(connection, "")
        if key:
            self._by_key[key] -= 1
            if not self._by_key[key]:
                del self._by_key[key]


class Pending(Protocol):
    """A connection that is not upgraded yet; hashable by identity."""

    def abort(self) -> None:
        """Drop the connection without an answer."""


class PendingConnections:
    """Connections between accept and upgrade; past ``most`` the oldest is dropped.

    The request head of an honest client takes milliseconds, so the oldest connection is the least
    likely to be one. Without the cap, sockets that say nothing would use up all descriptors.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._connections: dict[Pending, None] = {}

    def __len__(self) -> int:
        """The number of pending connections."""
        return len(self._connections)

    def add(self, connection: Pending) -> None:
        """Count one more; may drop the oldest."""
        self._connections[connection] = None
        if len(self._connections) > self._most:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.abort()

    def discard(self, connection: Pending) -> None:
        """Count the connection no more: it was upgraded, or has ended."""
        self._connections.pop(connection, None)

    def drop_all(self) -> None:
        """Drop all pending connections."""
        for connection in tuple(self._connections):
            connection.abort()
