"""Who holds which server-id, and whose phones they are: the relay's only routing state.

Pure rules: no sockets, no clock, no timers. It is generic in what a binary and a phone are and
never calls them; what it decides, it returns.
"""

import os
from collections.abc import Callable, Collection
from typing import Generic, NamedTuple, TypeVar

BinaryT = TypeVar("BinaryT")
PhoneT = TypeVar("PhoneT")


class Conflict(Exception):
    """The server-id is held by a binary that is connected."""


class NoServer(Exception):
    """No binary holds the server-id, and none is in grace."""


class AtCap(Exception):
    """The server-id has as many phones as it may."""


class Grace:
    """One grace period of one server-id. Identity is its meaning: see :meth:`Registry.expire`."""

    __slots__ = ("server_id",)

    def __init__(self, server_id: str) -> None:
        self.server_id = server_id


class Claim(NamedTuple, Generic[PhoneT]):
    """A claim that succeeded.

    Attributes:
        conn_id: the binary's connection id.
        find_phone: the phone of a conn_id under this server-id, while this claim holds it.
        evicted: phones of the binary that was replaced, already out of the registry.
        ended_grace: the grace period this claim ended, whose timer has no more meaning.
    """

    conn_id: str
    find_phone: Callable[[str], PhoneT | None]
    evicted: Collection[PhoneT]
    ended_grace: Grace | None


class Registration(NamedTuple, Generic[BinaryT]):
    """A phone that was registered.

    Attributes:
        conn_id: the phone's connection id.
        binary: who holds the server-id; ``None`` in grace.
    """

    conn_id: str
    binary: BinaryT | None


class _Entry(Generic[BinaryT, PhoneT]):
    """One server-id: held by ``binary``, or in ``grace``; never neither, never both."""

    __slots__ = ("binary", "binary_conn_id", "grace", "phones")

    def __init__(self) -> None:
        self.binary: BinaryT | None = None
        self.binary_conn_id = ""
        self.grace: Grace | None = None
        self.phones: dict[str, PhoneT] = {}


def random_hex() -> str:
    """Eight hexadecimal digits from the operating system."""
    return os.urandom(4).hex()


class Registry(Generic[BinaryT, PhoneT]):
    """The rules of claim, register, release, grace and replacement (protocol, registry).

    Args:
        max_phones: phones one server-id may have.
        draw: eight hex digits for a connection id; drawn again on a collision.
    """

    def __init__(self, max_phones: int, draw: Callable[[], str] = random_hex) -> None:
        self._max_phones = max_phones
        self._draw = draw
        self._entries: dict[str, _Entry[BinaryT, PhoneT]] = {}
        self._binaries = 0
        self._phones = 0

    def __len__(self) -> int:
        """Server-ids held or in grace."""
        return len(self._entries)

    @property
    def connected_binaries(self) -> int:
        """Server-ids held now; one in grace does not count."""
        return self._binaries

    @property
    def connected_phones(self) -> int:
        """Phones registered now, those of a server-id in grace included."""
        return self._phones

    def holder(self, server_id: str) -> BinaryT | None:
        """Who holds ``server_id``; ``None`` if nobody does or it is in grace."""
        entry = self._entries.get(server_id)
        return None if entry is None else entry.binary

    def claim(self, server_id: str, binary: BinaryT) -> Claim[PhoneT]:
        """Give ``binary`` a server-id that is free or in grace.

        Raises:
            Conflict: somebody holds it.
        """
        entry = self._entries.get(server_id)
        if entry is not None and entry.binary is not None:
            raise Conflict
        return self._install(server_id, entry, binary)

    def take_over(self, server_id: str, incumbent: BinaryT, binary: BinaryT) -> Claim[PhoneT]:
        """Give ``binary`` a server-id from ``incumbent``, or from the grace it left behind.

        Raises:
            Conflict: somebody other than ``incumbent`` holds it.
        """
        entry = self._entries.get(server_id)
        if entry is not None and entry.binary is not None and entry.binary is not incumbent:
            raise Conflict
        return self._install(server_id, entry, binary)

    def release(self, server_id: str, binary: BinaryT) -> Grace | None:
        """``binary`` is gone: its server-id goes into grace, to be ended by :meth:`expire`.

        Returns ``None``, and changes nothing, if it does not hold the server-id (any more).
        """
        entry = self._entries.get(server_id)
        if entry is None or entry.binary is not binary:
            return None
        entry.binary = None
        entry.grace = Grace(server_id)
        self._binaries -= 1
        return entry.grace

    def expire(self, grace: Grace) -> Collection[PhoneT] | None:
        """The time of ``grace`` is over: forget its server-id; return the phones it had.

        Returns ``None``, and changes nothing, if the period has ended before (a stale timer).
        """
        entry = self._entries.get(grace.server_id)
        if entry is None or entry.grace is not grace:
            return None
        del self._entries[grace.server_id]
        self._phones -= len(entry.phones)
        return entry.phones.values()

    def register(self, server_id: str, phone: PhoneT) -> Registration[BinaryT]:
        """Add ``phone`` to a server-id that is held or in grace.

        Raises:
            NoServer: it is neither.
            AtCap: it has ``max_phones``.
        """
        entry = self._entries.get(server_id)
        if entry is None:
            raise NoServer
        if len(entry.phones) >= self._max_phones:
            raise AtCap
        conn_id = self._new_id("client", server_id, entry.phones)
        entry.phones[conn_id] = phone
        self._phones += 1
        return Registration(conn_id, entry.binary)

    def unregister(self, server_id: str, conn_id: str, phone: PhoneT) -> bool:
        """Remove ``phone``; returns whether it was still registered."""
        entry = self._entries.get(server_id)
        if entry is None or entry.phones.get(conn_id) is not phone:
            return False
        del entry.phones[conn_id]
        self._phones -= 1
        return True

    def phones_of(self, server_id: str, binary: BinaryT) -> Collection[PhoneT]:
        """The phones of a server-id that ``binary`` holds; none if it does not."""
        entry = self._entries.get(server_id)
        return () if entry is None or entry.binary is not binary else tuple(entry.phones.values())

    def _install(
        self, server_id: str, old: _Entry[BinaryT, PhoneT] | None, binary: BinaryT
    ) -> Claim[PhoneT]:
        """Put ``binary`` into a fresh entry; what the old one had is evicted (*replace*)."""
        entry: _Entry[BinaryT, PhoneT] = _Entry()
        used_ids: tuple[str, ...] = ()
        evicted: Collection[PhoneT] = ()
        if old is not None:
            used_ids = (old.binary_conn_id,)
            evicted = old.phones.values()
            self._phones -= len(evicted)
        if old is None or old.binary is None:
            self._binaries += 1
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
