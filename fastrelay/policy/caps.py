"""Limits on the number of live WebSockets: of the relay, of an address, and of its networks."""

from collections.abc import Iterator, Sequence
from typing import Final, Generic, Protocol, TypeVar

from fastrelay.address import nested_keys
from fastrelay.policy.counters.tallies import Tallies

Live = TypeVar("Live")

FEW: Final = 8
"""An address with fewer connections than this may use the reserve."""

_RESERVE_SHARE: Final = 10
"""The reserve is the relay-wide cap divided by this."""


class Others(Protocol):
    """Counts the connections of other workers, and tells them of those here."""

    def room_for(self, here: int, most: int) -> bool:
        """Whether all workers together, with ``here`` of this one, have fewer than ``most``."""

    def room_of(self, key: str, here: int, most: int) -> bool:
        """The same for the connections whose address has this key."""

    def added(self, keys: Sequence[str]) -> None:
        """A connection of the address with these keys is live here."""

    def removed(self, keys: Sequence[str]) -> None:
        """A connection of the address with these keys has ended here."""


class _Group:
    """An address, or one of the networks that hold it, while any of its connections is live."""

    __slots__ = ("count", "key", "parent")

    def __init__(self, key: str, parent: "_Group | None") -> None:
        self.key = key
        self.parent = parent
        self.count = 0

    @property
    def keys(self) -> list[str]:
        """Its key, and those of the networks around it."""
        return [self.key, *(self.parent.keys if self.parent is not None else ())]


class LiveConnections(Generic[Live]):
    """Every live WebSocket of a relay, counted relay-wide and by client address.

    All IPv6 addresses of a /64 count as one. A /56 may have twice as many connections as a /64, and
    a /48 four times as many. Without these limits, a client with a /48 could connect from 65,536
    different /64s.

    The last tenth of the relay-wide cap is a reserve for addresses with few connections. Some
    addresses that together fill the rest of the relay therefore do not keep all others out.

    Args:
        most: the relay-wide cap.
        most_per_address: the cap of one address; 0 for no such cap.
        tallies: where refusals are counted, by reason.
        others: the connections of other workers, which the caps hold for, too.

    Attributes:
        refused: the same.
    """

    def __init__(
        self,
        most: int,
        most_per_address: int = 0,
        tallies: Tallies | None = None,
        others: Others | None = None,
    ) -> None:
        self._most = most
        self._most_of_many = most - most // _RESERVE_SHARE
        self._most_per_address = most_per_address
        self._groups: dict[Live, _Group] = {}
        self._by_key: dict[str, _Group] = {}
        self.refused = tallies or Tallies()
        self._others = others

    def __len__(self) -> int:
        """The number of live connections."""
        return len(self._groups)

    def __iter__(self) -> Iterator[Live]:
        """The connections, oldest first. It walks a copy, because closing one may remove it."""
        return iter(tuple(self._groups))

    def has_room(self, client: str, *, is_capped: bool = True) -> bool:
        """Whether one more connection of that address is allowed; a refusal is counted.

        Args:
            client: an address.
            is_capped: whether the limits of addresses hold for it, beside the relay-wide cap.
        """
        if not self._room_for(self._most):
            self.refused.relay_full += 1
            return False
        if not is_capped:
            return True
        keys = nested_keys(client)
        if not self._room_for(self._most_of_many) and not self._room_of(keys[0], FEW):
            self.refused.reserve += 1
            return False
        if self._most_per_address:
            for level, key in enumerate(keys):
                if not self._room_of(key, self._most_per_address << level):
                    self.refused.address_full += 1
                    return False
        return True

    def _room_for(self, most: int) -> bool:
        """Whether fewer than ``most`` connections are live."""
        here = len(self._groups)
        return here < most and (self._others is None or self._others.room_for(here, most))

    def _room_of(self, key: str, most: int) -> bool:
        """Whether fewer than ``most`` connections of an address or network are live."""
        group = self._by_key.get(key)
        here = 0 if group is None else group.count
        return here < most and (self._others is None or self._others.room_of(key, here, most))

    def add(self, connection: Live, client: str) -> None:
        """Count a connection of the address ``client`` until :meth:`discard`."""
        # An IPv4 address has no networks around it: the short way.
        address = self._by_key.get(client) or self._group_of(client)
        self._groups[connection] = group = address
        group.count += 1
        while group.parent is not None:
            group = group.parent
            group.count += 1
        if self._others is not None:
            self._others.added(address.keys)

    def _group_of(self, client: str) -> _Group:
        """The group of an address, made with those around it if it is not there."""
        keys = nested_keys(client)
        group = None
        for level in reversed(range(len(keys))):
            key, parent = keys[level], group
            group = self._by_key.get(key)
            if group is None:
                group = self._by_key[key] = _Group(key, parent)
        assert group is not None
        return group

    def address_of(self, connection: Live) -> str:
        """The key of the address that a connection is counted for; empty if it is not counted."""
        group = self._groups.get(connection)
        return "" if group is None else group.key

    def discard(self, connection: Live) -> None:
        """Stop counting a connection; no effect if it is not counted."""
        group = self._groups.pop(connection, None)
        if group is not None and self._others is not None:
            self._others.removed(group.keys)
        while group is not None:
            group.count -= 1
            if not group.count:
                del self._by_key[group.key]
            group = group.parent
