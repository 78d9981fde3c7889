"""Who holds which server-id, and whose phones they are: the relay's only routing state.

Pure rules: no sockets, no clock, no timers. It is generic in what a binary and a phone are and
never calls them; what it decides, it returns.
"""

import os
from collections.abc import Callable, Collection
from typing import Generic, NamedTuple, TypeVar

Binary = TypeVar("Binary")
Phone = TypeVar("Phone")


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


class Claim(NamedTuple, Generic[Phone]):
    """A claim that succeeded.

    Attributes:
        conn_id: the binary's connection id.
        find_phone: the phone of a conn_id under this server-id, while this claim holds it.
        evicted: phones of the binary that was replaced, already out of the registry.
        ended_grace: the grace period this claim ended, whose timer has no more meaning.
    """

    conn_id: str
    find_phone: Callable[[str], Phone | None]
    evicted: Collection[Phone]
    ended_grace: Grace | None


class Registration(NamedTuple, Generic[Binary]):
    """A phone that was registered.

    Attributes:
        conn_id: the phone's connection id.
        binary: who holds the server-id; ``None`` in grace.
    """

    conn_id: str
    binary: Binary | None


class _Slot(Generic[Binary, Phone]):
    """One server-id: held by ``binary``, or in ``grace``; never neither, never both."""

    __slots__ = ("binary", "binary_conn_id", "grace", "phones")

    def __init__(self) -> None:
        self.binary: Binary | None = None
        self.binary_conn_id = ""
        self.grace: Grace | None = None
        self.phones: dict[str, Phone] = {}


def random_hex() -> str:
    """Eight hexadecimal digits from the operating system."""
    return os.urandom(4).hex()


class Registry(Generic[Binary, Phone]):
    """The rules of claim, register, release, grace and replacement (protocol, registry).

    Args:
        max_phones: phones one server-id may have.
        draw: eight hex digits for a connection id; drawn again on a collision.
    """

    def __init__(self, max_phones: int, draw: Callable[[], str] = random_hex) -> None:
        self._max_phones = max_phones
        self._draw = draw
        self._slots: dict[str, _Slot[Binary, Phone]] = {}
        self._binaries = 0
        self._phones = 0

    def __len__(self) -> int:
        """Server-ids held or in grace."""
        return len(self._slots)

    @property
    def connected_binaries(self) -> int:
        """Server-ids held now; one in grace does not count."""
        return self._binaries

    @property
    def connected_phones(self) -> int:
        """Phones registered now, those of a server-id in grace included."""
        return self._phones

    def holder(self, server_id: str) -> Binary | None:
        """Who holds ``server_id``; ``None`` if nobody does or it is in grace."""
        slot = self._slots.get(server_id)
        return None if slot is None else slot.binary

    def claim(self, server_id: str, binary: Binary) -> Claim[Phone]:
        """Give ``binary`` a server-id that is free or in grace.

        Raises:
            Conflict: somebody holds it.
        """
        slot = self._slots.get(server_id)
        if slot is not None and slot.binary is not None:
            raise Conflict
        return self._install(server_id, slot, binary)

    def take_over(self, server_id: str, incumbent: Binary, binary: Binary) -> Claim[Phone]:
        """Give ``binary`` a server-id from ``incumbent``, or from the grace it left behind.

        Raises:
            Conflict: somebody other than ``incumbent`` holds it.
        """
        slot = self._slots.get(server_id)
        if slot is not None and slot.binary is not None and slot.binary is not incumbent:
            raise Conflict
        return self._install(server_id, slot, binary)

    def release(self, server_id: str, binary: Binary) -> Grace | None:
        """``binary`` is gone: its server-id goes into grace, to be ended by :meth:`expire`.

        Returns ``None``, and changes nothing, if it does not hold the server-id (any more).
        """
        slot = self._slots.get(server_id)
        if slot is None or slot.binary is not binary:
            return None
        slot.binary = None
        slot.grace = Grace(server_id)
        self._binaries -= 1
        return slot.grace

    def expire(self, grace: Grace) -> Collection[Phone] | None:
        """The time of ``grace`` is over: forget its server-id; return the phones it had.

        Returns ``None``, and changes nothing, if the period has ended before (a stale timer).
        """
        slot = self._slots.get(grace.server_id)
        if slot is None or slot.grace is not grace:
            return None
        del self._slots[grace.server_id]
        self._phones -= len(slot.phones)
        return slot.phones.values()

    def register(self, server_id: str, phone: Phone) -> Registration[Binary]:
        """Add ``phone`` to a server-id that is held or in grace.

        Raises:
            NoServer: it is neither.
            AtCap: it has ``max_phones``.
        """
        slot = self._slots.get(server_id)
        if slot is None:
            raise NoServer
        if len(slot.phones) >= self._max_phones:
            raise AtCap
        conn_id = self._new_id("client", server_id, slot.phones)
        slot.phones[conn_id] = phone
        self._phones += 1
        return Registration(conn_id, slot.binary)

    def unregister(self, server_id: str, conn_id: str, phone: Phone) -> bool:
        """Remove ``phone``; returns whether it was still registered."""
        slot = self._slots.get(server_id)
        if slot is None or slot.phones.get(conn_id) is not phone:
            return False
        del slot.phones[conn_id]
        self._phones -= 1
        return True

    def phones_of(self, server_id: str, binary: Binary) -> Collection[Phone]:
        """The phones of a server-id that ``binary`` holds; none if it does not."""
        slot = self._slots.get(server_id)
        return () if slot is None or slot.binary is not binary else tuple(slot.phones.values())

    def _install(
        self, server_id: str, old: _Slot[Binary, Phone] | None, binary: Binary
    ) -> Claim[Phone]:
        """Put ``binary`` into a fresh slot; what the old one had is evicted (*replace*)."""
        slot: _Slot[Binary, Phone] = _Slot()
        taken: tuple[str, ...] = ()
        evicted: Collection[Phone] = ()
        if old is not None:
            taken = (old.binary_conn_id,)
            evicted = old.phones.values()
            self._phones -= len(evicted)
        if old is None or old.binary is None:
            self._binaries += 1
        slot.binary = binary
        slot.binary_conn_id = self._new_id("server", server_id, taken)
        self._slots[server_id] = slot
        return Claim(
            slot.binary_conn_id, slot.phones.get, evicted, None if old is None else old.grace
        )

    def _new_id(self, side: str, server_id: str, taken: Collection[str]) -> str:
        while (conn_id := f"{side}-{server_id}-{self._draw()}") in taken:
            pass
        return conn_id
