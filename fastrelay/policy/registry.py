"""Which binary holds which server-id, and which phones are registered under it.

This is the relay's only routing state (protocol, registry). It has no sockets, clock or timers. It
is generic in the types of binaries and phones and never calls one: it returns its decisions, and
the caller carries them out.
"""

import os
from collections.abc import Callable, Collection
from typing import Generic, NamedTuple, TypeVar

from fastrelay.policy.counters.tallies import Connected

BinaryT = TypeVar("BinaryT")
"""The type of a binary; the registry only compares binaries by identity."""

PhoneT = TypeVar("PhoneT")
"""The type of a phone; the registry only compares phones by identity."""


class Conflict(Exception):
    """A connected binary holds the server-id."""


class NoServer(Exception):
    """The server-id is neither held by a binary nor in grace."""


class AtCap(Exception):
    """The server-id has the maximum number of phones."""


class Grace:
    """One grace period of one server-id.

    Grace periods are compared by identity, so that the timer of an earlier period cannot end a
    later one of the same server-id; see :meth:`Registry.expire`.
    """

    __slots__ = ("server_id",)

    def __init__(self, server_id: str) -> None:
        self.server_id = server_id


class Claim(NamedTuple, Generic[PhoneT]):
    """The result of a successful claim.

    Attributes:
        conn_id: the binary's connection id, ``server-<server-id>-<8 hex digits>``.
        find_phone: returns the phone with a given ``conn_id`` that was registered under this
            claim, ``None`` if there is none. It never finds phones of an earlier or later claim.
        evicted: the phones of the replaced binary; they are no longer registered.
        ended_grace: the grace period that this claim ended, if any; its timer can be cancelled.
    """

    conn_id: str
    find_phone: Callable[[str], PhoneT | None]
    evicted: Collection[PhoneT]
    ended_grace: Grace | None


class Registration(NamedTuple, Generic[BinaryT]):
    """The result of registering a phone.

    Attributes:
        conn_id: the phone's connection id, ``client-<server-id>-<8 hex digits>``.
        binary: the binary that holds the server-id; ``None`` if the server-id is in grace.
    """

    conn_id: str
    binary: BinaryT | None


class _Entry(Generic[BinaryT, PhoneT]):
    """The state of one server-id: exactly one of ``binary`` and ``grace`` is set."""

    __slots__ = ("binary", "binary_conn_id", "grace", "phones")

    def __init__(self) -> None:
        self.binary: BinaryT | None = None
        self.binary_conn_id = ""
        self.grace: Grace | None = None
        self.phones: dict[str, PhoneT] = {}


def random_hex() -> str:
    """Eight hexadecimal digits from the operating system's random source."""
    return os.urandom(4).hex()


class Registry(Generic[BinaryT, PhoneT]):
    """The rules of claim, register, release, grace and replacement (protocol, registry).

    Args:
        max_phones: the most phones that one server-id may have.
        draw: returns eight random hex digits, the end of a connection id. It is called again when
            the connection id is in use.
        connected: where binaries and phones are counted. Both could be counted from the entries;
            cached, because /healthz reports them, and its cost must not grow with the number of
            connections.
    """

    def __init__(
        self,
        max_phones: int,
        draw: Callable[[], str] = random_hex,
        connected: Connected | None = None,
    ) -> None:
        self._max_phones = max_phones
        self._draw = draw
        self._entries: dict[str, _Entry[BinaryT, PhoneT]] = {}
        self._connected = connected or Connected()

    def __len__(self) -> int:
        """The number of server-ids that are held or in grace."""
        return len(self._entries)

    @property
    def connected_binaries(self) -> int:
        """The number of server-ids that are held now; those in grace do not count."""
        return self._connected.binaries

    @property
    def connected_phones(self) -> int:
        """The number of registered phones, including those of server-ids in grace."""
        return self._connected.phones

    def holder(self, server_id: str) -> BinaryT | None:
        """The binary that holds ``server_id``; ``None`` if the server-id is free or in grace."""
        entry = self._entries.get(server_id)
        return None if entry is None else entry.binary

    def claim(self, server_id: str, binary: BinaryT) -> Claim[PhoneT]:
        """Give ``binary`` a server-id that is free or in grace.

        Raises:
            Conflict: a binary holds it.
        """
        entry = self._entries.get(server_id)
        if entry is not None and entry.binary is not None:
            raise Conflict
        return self._install(server_id, entry, binary)

    def take_over(self, server_id: str, incumbent: BinaryT, binary: BinaryT) -> Claim[PhoneT]:
        """Give ``binary`` a server-id that ``incumbent`` holds, or that is free or in grace.

        Raises:
            Conflict: a binary other than ``incumbent`` holds it.
        """
        entry = self._entries.get(server_id)
        if entry is not None and entry.binary is not None and entry.binary is not incumbent:
            raise Conflict
        return self._install(server_id, entry, binary)

    def release(self, server_id: str, binary: BinaryT) -> Grace | None:
        """Put a server-id into grace because the connection of ``binary`` has ended.

        Returns the grace period, which the caller ends with :meth:`expire`. Returns ``None`` and
        changes nothing if ``binary`` does not hold the server-id.
        """
        entry = self._entries.get(server_id)
        if entry is None or entry.binary is not binary:
            return None
        entry.binary = None
        entry.grace = Grace(server_id)
        self._connected.binaries -= 1
        return entry.grace

    def expire(self, grace: Grace) -> Collection[PhoneT] | None:
        """Remove a server-id because the time of its grace period is over.

        Returns the phones that were registered. Returns ``None`` and changes nothing if ``grace``
        is not the current period of its server-id, that is, if its timer was stale.
        """
        entry = self._entries.get(grace.server_id)
        if entry is None or entry.grace is not grace:
            return None
        del self._entries[grace.server_id]
        self._connected.phones -= len(entry.phones)
        return entry.phones.values()

    def register(self, server_id: str, phone: PhoneT) -> Registration[BinaryT]:
        """Register ``phone`` under a server-id that is held or in grace.

        Raises:
            NoServer: the server-id is neither held nor in grace.
            AtCap: the server-id has ``max_phones`` phones.
        """
        entry = self._entries.get(server_id)
        if entry is None:
            raise NoServer
        if len(entry.phones) >= self._max_phones:
            raise AtCap
        conn_id = self._new_id("client", server_id, entry.phones)
        entry.phones[conn_id] = phone
        self._connected.phones += 1
        return Registration(conn_id, entry.binary)

    def unregister(self, server_id: str, conn_id: str, phone: PhoneT) -> bool:
        """Remove ``phone``; returns whether it was registered."""
        entry = self._entries.get(server_id)
        if entry is None or entry.phones.get(conn_id) is not phone:
            return False
        del entry.phones[conn_id]
        self._connected.phones -= 1
        return True

    def _install(
        self, server_id: str, old: _Entry[BinaryT, PhoneT] | None, binary: BinaryT
    ) -> Claim[PhoneT]:
        """Replace the entry of a server-id by a new one of ``binary``; evict the old one's phones.

        The entry is a new object, so that the ``find_phone`` of an earlier claim cannot find phones
        of this one.
        """
        entry: _Entry[BinaryT, PhoneT] = _Entry()
        used_ids: tuple[str, ...] = ()
        evicted: Collection[PhoneT] = ()
        if old is not None:
            used_ids = (old.binary_conn_id,)
            evicted = old.phones.values()
            self._connected.phones -= len(evicted)
        if old is None or old.binary is None:
            self._connected.binaries += 1
        entry.binary = binary
        entry.binary_conn_id = self._new_id("server", server_id, used_ids)
        self._entries[server_id] = entry
        return Claim(
            entry.binary_conn_id, entry.phones.get, evicted, None if old is None else old.grace
        )

    def _new_id(self, side: str, server_id: str, used_ids: Collection[str]) -> str:
        while (conn_id := f"{side}-{server_id}-{self._draw()}") in used_ids:
            pass
        return conn_id
