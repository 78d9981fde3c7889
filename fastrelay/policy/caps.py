"""Limits on the number of live WebSockets: of the relay, of an address, and of its networks."""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from fastrelay.address import nested_keys

Live = TypeVar("Live")

FEW: Final = 8
"""Below so many connections an address may use the reserve."""

_RESERVE_SHARE: Final = 10
"""The reserve is the relay-wide cap divided by this."""


class Refusals:
    """How often :meth:`LiveConnections.has_room` refused, by reason.

    Attributes:
        relay_full: the relay-wide cap was reached.
        reserve: only the reserve was left, and the address had its few connections already.
        address_full: the address, or a network that holds it, was at its own cap.
    """

    __slots__ = ("address_full", "relay_full", "reserve")

    def __init__(self) -> None:
        self.relay_full = self.reserve = self.address_full = 0


class _Group:
    """An address, or one of the networks that hold it, while any of its connections is live."""

    __slots__ = ("count", "key", "most", "parent")

    def __init__(self, key: str, most: int, parent: "_Group | None") -> None:
        self.key = key
        self.most = most
        self.parent = parent
        self.count = 0


class LiveConnections(Generic[Live]):
    """Every live WebSocket of a relay, counted relay-wide and by client address.

    An IPv6 address counts with its /64. Its /56 may have twice as many connections as that, and
    its /48 four times as many: who is given a /48 has 65,536 different /64s to connect from.

    The last tenth of the relay-wide cap is a reserve for addresses with few connections, so that
    some addresses which together fill the relay do not keep all others out.

    Args:
        most: the relay-wide cap.
        most_per_address: the cap of one address; 0 for no such cap.

    Attributes:
        refused: what was refused so far.
    """

    def __init__(self, most: int, most_per_address: int = 0) -> None:
        self._most = most
        self._most_of_many = most - most // _RESERVE_SHARE
        self._most_per_address = most_per_address
        self._groups: dict[Live, _Group] = {}
        self._by_key: dict[str, _Group] = {}
        self.refused = Refusals()

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
        live = len(self._groups)
        if live >= self._most:
            self.refused.relay_full += 1
            return False
        if not is_capped:
            return True
        keys = nested_keys(client)
        address = self._by_key.get(keys[0])
        if live >= self._most_of_many and address is not None and address.count >= FEW:
            self.refused.reserve += 1
            return False
        if self._most_per_address:
            for key in keys:
                group = self._by_key.get(key)
                if group is not None and group.count >= group.most:
                    self.refused.address_full += 1
                    return False
        return True

    def add(self, connection: Live, client: str) -> None:
        """Count a connection of the address ``client`` until :meth:`discard`."""
        # An IPv4 address has no networks around it: the short way.
        address = self._by_key.get(client) or self._group_of(client)
        self._groups[connection] = group = address
        group.count += 1
        while group.parent is not None:
            group = group.parent
            group.count += 1

    def _group_of(self, client: str) -> _Group:
        """The group of an address, made with those around it if it is not there."""
        keys = nested_keys(client)
        group = None
        for level in reversed(range(len(keys))):
            key, parent = keys[level], group
            group = self._by_key.get(key)
            if group is None:
                group = self._by_key[key] = _Group(key, self._most_per_address << level, parent)
        assert group is not None
        return group

    def address_of(self, connection: Live) -> str:
        """The key of the address that a connection is counted for; empty if it is not counted."""
        group = self._groups.get(connection)
        return "" if group is None else group.key

    def discard(self, connection: Live) -> None:
        """Stop counting a connection; no effect if it is not counted."""
        group = self._groups.pop(connection, None)
        while group is not None:
            group.count -= 1
            if not group.count:
                del self._by_key[group.key]
            group = group.parent
