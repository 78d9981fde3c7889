"""The budget of all bytes that this process keeps for its peers, and evictions when it is exceeded.

There is one :class:`Ledger` for each kind of bytes. Recording a number of bytes takes constant
time. Sums by group are used to choose the connection to evict. They are kept only while more than
half of the budget is used.
"""

from collections.abc import Callable, MutableSequence
from enum import Enum
from typing import Final, Protocol

from fastrelay.policy.held_groups import Groups


class Kind(Enum):
    """What is kept; each value is a label of the metrics."""

    HALF_MESSAGES = "half_messages"
    """Frames and fragmented messages that have begun and not ended, and bytes not decoded yet."""
    TLS = "tls"
    """Ciphertext that is not decrypted yet."""
    PHONE_BACKLOGS = "phone_backlogs"
    """Bytes for phones that their sockets have not taken."""
    BINARY_BACKLOGS = "binary_backlogs"
    """Bytes for binaries that their sockets have not taken."""


class Holder(Protocol):
    """A peer for which bytes are kept. It must be hashable by identity."""

    def held_for(self, kind: Kind) -> tuple[str, str]:
        """The address that sent the bytes, and the tenant (server-id) that they are for."""

    def evict(self, kind: Kind) -> None:
        """Drop the bytes, end the connection, and report what is left to the ledger."""


class Ledger:
    """The bytes of one kind, by holder.

    Attributes:
        kind: the kind.
        total: all bytes of the kind.
    """

    def __init__(self, kind: Kind, budget: "HeldBytes", evicted: MutableSequence[int]) -> None:
        self.kind = kind
        self.total = 0
        self._evicted = evicted
        self._place = tuple(Kind).index(kind)
        self._budget = budget
        self._sizes: dict[Holder, int] = {}
        self._pinned: dict[object, int] = {}

    @property
    def evicted(self) -> int:
        """How many holders were evicted for bytes of this kind."""
        return self._evicted[self._place]

    def hold(self, holder: Holder, size: int) -> None:
        """Record that ``size`` bytes are kept for ``holder`` now; may evict any holder."""
        if holder in self._pinned:
            self.pin(holder, size)
            return
        sizes = self._sizes
        change = size - sizes.get(holder, 0)
        if not change:
            return
        if size:
            sizes[holder] = size
        else:
            del sizes[holder]
        self.total += change
        self._budget.changed(self, holder, size, change)

    def pin(self, holder: object, size: int) -> None:
        """Record bytes that cannot be dropped, because the kernel has begun to take them.

        They count only in :attr:`total`: no connection must be evicted because of them.
        """
        self.total += size - self._pinned.get(holder, 0)
        if size:
            self._pinned[holder] = size
        else:
            self._pinned.pop(holder, None)

    def size_of(self, holder: Holder) -> int:
        """The bytes of a holder that may be evicted."""
        return self._sizes[holder]

    def holders(self) -> tuple[Holder, ...]:
        """All holders that may be evicted."""
        return tuple(self._sizes)

    def set_aside(self, holder: Holder) -> int:
        """Pin the bytes of a holder that will be evicted now; returns their number."""
        size = self._sizes.pop(holder)
        self._pinned[holder] = size
        self._evicted[self._place] += 1
        return size


_Account = tuple[Ledger, Holder]


def _held_for(account: _Account) -> tuple[str, str]:
    ledger, holder = account
    return holder.held_for(ledger.kind)


class HeldBytes:
    """Keeps the sum of all bytes that can be dropped within ``limit``.

    Beyond the limit, bytes are dropped in this order: incomplete messages and undecrypted bytes;
    backlogs to phones; backlogs to binaries. In each of these steps, a connection of the group that
    holds the most bytes is evicted; see :class:`Groups`. A group that holds no more than ``modest``
    bytes is skipped if there is a larger one in any of the three steps. Otherwise a peer that fills
    the budget with backlogs could cause the eviction of every message that arrives in two reads.

    Args:
        limit: bytes.
        modest: bytes; one message of the largest size.
        on_evicted: called before each eviction with kind, address, tenant and bytes.
        evicted: where evictions are counted, in the order of :class:`Kind`.

    Attributes:
        half_messages, tls, phone_backlogs, binary_backlogs: the ledgers.
    """

    def __init__(
        self,
        limit: int,
        modest: int = 0,
        on_evicted: Callable[[Kind, str, str, int], None] = lambda *_: None,
        evicted: MutableSequence[int] | None = None,
    ) -> None:
        self.limit: Final = limit
        self._modest = modest
        self._on_evicted = on_evicted
        self._droppable = 0
        self._share = 0
        self._publish: Callable[[int], None] = lambda droppable: None
        self._elsewhere: Callable[[], int] = lambda: 0
        self._groups: tuple[Groups[_Account], ...] = ()
        counts = evicted if evicted is not None else [0] * len(Kind)
        self.ledgers = tuple(Ledger(kind, self, counts) for kind in Kind)
        self.half_messages, self.tls, self.phone_backlogs, self.binary_backlogs = self.ledgers
        self._ranks: dict[Ledger, int] = dict(zip(self.ledgers, (0, 0, 1, 2), strict=True))

    def share(
        self, share: int, publish: Callable[[int], None], elsewhere: Callable[[], int]
    ) -> None:
        """Share the budget with other workers: beyond it, a worker above its share evicts.

        Args:
            share: bytes that this worker may keep, whatever the other workers keep.
            publish: called with the number of bytes that this worker keeps and could drop.
            elsewhere: returns the same number of all other workers together.
        """
        self._share = share
        self._publish = publish
        self._elsewhere = elsewhere

    def _allowed(self) -> int:
        """The bytes that may be kept here now."""
        if not self._share:
            return self.limit
        return max(self._share, self.limit - self._elsewhere())

    def enforce(self) -> None:
        """Evict until the bytes of this worker fit into the budget beside those of the others."""
        if self._droppable > self._share:
            if not self._groups:
                self._group_all()
            while self._droppable > self._allowed():
                self._evict_one()

    @property
    def total(self) -> int:
        """All bytes kept, also those that cannot be dropped."""
        return sum(ledger.total for ledger in self.ledgers)

    def totals(self) -> list[int]:
        """All bytes kept by kind, in the order of :class:`Kind`."""
        return [ledger.total for ledger in self.ledgers]

    def changed(self, ledger: Ledger, holder: Holder, size: int, change: int) -> None:
        """A ledger's holder has ``size`` bytes now, ``change`` more than before."""
        self._droppable += change
        self._publish(self._droppable)
        limit = self._allowed()
        if self._groups:
            if self._droppable * 4 < limit:
                self._groups = ()
            else:
                self._groups[self._ranks[ledger]].put((ledger, holder), size)
        elif self._droppable * 2 > limit:
            self._group_all()
        if change > 0:
            while self._droppable > self._allowed():
                self._evict_one()

    def _group_all(self) -> None:
        # Half messages are dropped by address alone: the tenant has not asked for them.
        self._groups = (Groups(_held_for, by_tenant=False), Groups(_held_for), Groups(_held_for))
        for ledger in self.ledgers:
            groups = self._groups[self._ranks[ledger]]
            for holder in ledger.holders():
                groups.put((ledger, holder), ledger.size_of(holder))

    def _evict_one(self) -> None:
        chosen = (groups.choose(floor) for floor in (self._modest, 0) for groups in self._groups)
        (ledger, holder), address, tenant = next(found for found in chosen if found is not None)
        size = ledger.set_aside(holder)
        self._droppable -= size
        self._publish(self._droppable)
        self._groups[self._ranks[ledger]].put((ledger, holder), 0)
        self._on_evicted(ledger.kind, address, tenant, size)
        holder.evict(ledger.kind)
