"""Connections before the upgrade, and which of them is dropped when there are too many.

Without a cap, sockets that send nothing would use up all descriptors. Beyond the cap, the oldest
connection of the address that has the most of them is dropped. An address that opens very many
connections therefore loses only its own, and a client that needs some time for its request head
keeps its connection.
"""

from collections import OrderedDict
from typing import Protocol

from fastrelay.address import bucket_key
from fastrelay.policy.counters.tallies import Tallies


class Pending(Protocol):
    """A connection that is not upgraded yet; hashable by identity."""

    def abort(self) -> None:
        """Drop the connection without an answer."""


class PendingConnections:
    """The pending connections of one listener; every operation takes constant time.

    Args:
        most: the cap.
        tallies: where connections are counted that were dropped because of the cap.
    """

    def __init__(self, most: int, tallies: Tallies | None = None) -> None:
        self._most = most
        self._tallies = tallies or Tallies()
        self._connections: dict[Pending, str] = {}
        self._by_key: dict[str, OrderedDict[Pending, None]] = {}
        # The addresses by the number of their connections. A count changes by one at a time, so the
        # largest count is always known, and the first address in its entry is the one to reduce.
        self._by_count: dict[int, OrderedDict[str, None]] = {0: OrderedDict()}
        self._largest = 0

    def __len__(self) -> int:
        """The number of pending connections."""
        return len(self._connections)

    @property
    def dropped(self) -> int:
        """How many connections were dropped because of a cap that is counted in ``tallies``."""
        return self._tallies.pending_full

    def add(self, connection: Pending, client: str) -> None:
        """Count one more of the address ``client``; may drop one of the address with the most."""
        key = bucket_key(client)
        self._connections[connection] = key
        mine = self._by_key.get(key)
        if mine is None:
            mine = self._by_key[key] = OrderedDict()
        mine[connection] = None
        self._recount(key, len(mine) - 1, len(mine))
        if len(self._connections) > self._most:
            largest = next(iter(self._by_count[self._largest]))
            oldest = next(iter(self._by_key[largest]))
            self.discard(oldest)
            self._tallies.pending_full += 1
            oldest.abort()

    def discard(self, connection: Pending) -> None:
        """Stop counting the connection, because it was upgraded or has ended."""
        key = self._connections.pop(connection, None)
        if key is None:
            return
        mine = self._by_key[key]
        del mine[connection]
        self._recount(key, len(mine) + 1, len(mine))
        if not mine:
            del self._by_key[key]

    def drop_all(self) -> None:
        """Drop all pending connections."""
        for connection in tuple(self._connections):
            connection.abort()

    def _recount(self, key: str, before: int, after: int) -> None:
        """Move an address to where those with ``after`` connections are."""
        if after:
            addresses = self._by_count.get(after)
            if addresses is None:
                addresses = self._by_count[after] = OrderedDict()
            addresses[key] = None
        if before:
            del self._by_count[before][key]
        if after > self._largest or not self._by_count[self._largest]:
            self._largest = after
