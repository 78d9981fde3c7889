"""Counts the live WebSockets of all workers, in all and by address, and those being handed over."""

import secrets
from collections import Counter
from collections.abc import Iterator, MutableSequence, Sequence
from typing import Final, NamedTuple

from fastrelay.policy.ownership import KeyedHash

PLACES: Final = 1 << 16
MOST_TRANSFERS: Final = 64
"""Connections of one worker that another one has not acknowledged; more of them wait."""

KEYS: Final = 3
"""The most keys of an address: those of an IPv6 address are its /64, /56 and /48."""


class ConnectionRows(NamedTuple):
    """The rows of one worker, which it alone writes; all but the last are zeroed when it has died.

    Attributes:
        counts: two integers: its live WebSockets, with the connections that wait for a place to be
            handed over, and its transfers that are not ended.
        by_address: :data:`PLACES` unsigned integers: the first of them by key.
        open: for each worker :data:`MOST_TRANSFERS` numbers of transfers that are not ended; 0 is
            none.
        keys: for each of those :data:`KEYS` keys, as numbers.
        adopted: for each worker the number of the last transfer that was adopted from it, in each
            of its places.
    """

    counts: MutableSequence[int]
    by_address: MutableSequence[int]
    open: MutableSequence[int]
    keys: MutableSequence[int]
    adopted: MutableSequence[int]


class Transfer(NamedTuple):
    """A connection on its way to another worker: the place it is counted at, and its number."""

    place: int
    number: int


class SharedConnections:
    """The connections of all workers, seen by one of them.

    A connection that is handed over is counted by its sender until the receiver has adopted it. The
    numbers are therefore exact for attempts that do not overlap. If attempts at N workers overlap,
    each worker may admit one connection before it sees those of the others.

    Sender and receiver agree without a lock whether a connection is adopted or given up: each first
    writes its own cell (:attr:`ConnectionRows.adopted`, :attr:`ConnectionRows.open`), and then
    reads the other's. Therefore never do both answer the peer, even if one is stopped or killed.

    Args:
        rows: of all workers.
        index: of this worker.
    """

    def __init__(self, rows: Sequence[ConnectionRows], index: int, keyed: KeyedHash) -> None:
        self._rows = rows
        self._own = rows[index]
        self._index = index
        self._others = [row for place, row in enumerate(rows) if place != index]
        self._keyed = keyed
        self._waiting: Counter[str] = Counter()
        self._waiting_count = 0
        self._free = [list(range(MOST_TRANSFERS)) for _ in rows]  # places, by receiver
        # No number is used twice, not even by the worker with this index that has died.
        self._number_of_last = secrets.randbits(62)

    # -- counted by this worker ---------------------------------------------------------------

    def added(self, keys: Sequence[str]) -> None:
        """A connection of the address with these keys is live here."""
        self._own.counts[0] += 1
        self._change(keys, 1)

    def removed(self, keys: Sequence[str]) -> None:
        """A connection of the address with these keys has ended here."""
        self._own.counts[0] -= 1
        self._change(keys, -1)

    def waits(self, keys: Sequence[str]) -> None:
        """A connection of the address with these keys waits for a place to be handed over."""
        self._waiting_count += 1
        self._waiting.update(keys)
        self.added(keys)

    def waits_no_more(self, keys: Sequence[str]) -> None:
        """Such a connection has got a place, or was given up."""
        self._waiting_count -= 1
        self._waiting.subtract(keys)
        self._waiting += Counter()  # without those of 0
        self.removed(keys)

    def _change(self, keys: Sequence[str], by: int) -> None:
        for key in keys:
            for place in self._keyed.places(key, PLACES):
                self._own.by_address[place] += by

    # -- counted by the others ----------------------------------------------------------------

    def room_for(self, here: int, most: int) -> bool:
        """Whether there are fewer than ``most``, of which ``here`` are live in this worker."""
        live = here + self._waiting_count + sum([row.counts[0] for row in self._others])
        return self._on_their_way() + live < most or (
            live + sum(1 for _ in self._unsettled()) < most
        )

    def room_of(self, key: str, here: int, most: int) -> bool:
        """The same for the connections whose address has this key."""
        places = self._keyed.places(key, PLACES)
        live = here + self._waiting[key]
        live += sum([min([row.by_address[at] for at in places]) for row in self._others])
        if self._on_their_way() + live < most:
            return True
        number = self._number(key)
        return live + sum(1 for keys in self._unsettled() if number in keys) < most

    def _on_their_way(self) -> int:
        """An upper bound of the connections being handed over: some may be adopted already."""
        return sum([row.counts[1] for row in self._rows])

    def _number(self, key: str) -> int:
        return (self._keyed.of(key) >> 64) & 0x7FFF_FFFF_FFFF_FFFF | 1

    def _unsettled(self) -> Iterator[Sequence[int]]:
        """The keys of each connection that is on its way and not adopted yet."""
        for sender, row in enumerate(self._rows):
            for receiver, other in enumerate(self._rows):
                start = receiver * MOST_TRANSFERS
                numbers = row.open[start : start + MOST_TRANSFERS]
                if receiver == sender or not any(numbers):
                    continue
                for place, number in enumerate(numbers):
                    if number and other.adopted[sender * MOST_TRANSFERS + place] != number:
                        at = (start + place) * KEYS
                        yield row.keys[at : at + KEYS]

    # -- connections on their way -------------------------------------------------------------

    def begin(self, receiver: int, keys: Sequence[str]) -> Transfer | None:
        """Count a connection that is handed to ``receiver``; ``None`` if no place is left."""
        if not self._free[receiver]:
            return None
        place = self._free[receiver].pop()
        at = receiver * MOST_TRANSFERS + place
        for nth in range(KEYS):
            self._own.keys[at * KEYS + nth] = self._number(keys[nth]) if nth < len(keys) else 0
        self._number_of_last = number = self._number_of_last + 1
        self._own.open[at] = number
        self._own.counts[1] += 1
        return Transfer(place, number)

    def end(self, receiver: int, transfer: Transfer) -> bool:
        """Stop counting a connection; it cannot be adopted from now on.

        Returns whether the receiver has begun to answer the peer; also if it has died since.
        """
        self._own.open[receiver * MOST_TRANSFERS + transfer.place] = 0
        self._own.counts[1] -= 1
        self._free[receiver].append(transfer.place)
        numbers = self._rows[receiver].adopted
        return numbers[self._index * MOST_TRANSFERS + transfer.place] == transfer.number

    def adopt(self, sender: int, transfer: Transfer) -> bool:
        """A connection from ``sender`` will be counted here; returns whether it may be answered.

        It may not if the sender has given it up, or has died.
        """
        self._own.adopted[sender * MOST_TRANSFERS + transfer.place] = transfer.number
        own = self._index * MOST_TRANSFERS + transfer.place
        return self._rows[sender].open[own] == transfer.number
