"""Finds out which address or tenant holds the most bytes, from sums of held bytes."""

from collections.abc import Callable
from operator import attrgetter
from typing import Final, Generic, NamedTuple, TypeVar

_TOTAL: Final = attrgetter("total")
Account = TypeVar("Account")


class Found(NamedTuple, Generic[Account]):
    """The account to evict, and the groups that it is in."""

    account: Account
    address: str
    tenant: str


class _Group(Generic[Account]):
    """All that one address has sent, or that is for one tenant."""

    __slots__ = ("shares", "total")

    def __init__(self) -> None:
        self.shares: dict[_Share[Account], None] = {}
        self.total = 0


class _Share(Generic[Account]):
    """What one address has sent for one tenant."""

    __slots__ = ("accounts", "address", "groups", "tenant", "total")

    def __init__(self, address: str, tenant: str, groups: tuple[_Group[Account], ...]) -> None:
        self.accounts: dict[Account, int] = {}
        self.address = address
        self.groups = groups
        self.tenant = tenant
        self.total = 0


class Groups(Generic[Account]):
    """Sums by address and by tenant.

    An account is chosen in three steps:

    1. The group that holds the most bytes. Groups are addresses and tenants, so a thousand tenants
       of one address that hold little each are one large group.
    2. The largest share of this group. The shares of an address are its tenants, and the shares of
       a tenant are its addresses. Peers behind one proxy are therefore told apart by their tenants.
    3. The largest account of this share.

    Args:
        held_for: the address and the tenant of an account.
        by_tenant: whether a tenant is a group, or addresses alone.
    """

    def __init__(
        self, held_for: Callable[[Account], tuple[str, str]], *, by_tenant: bool = True
    ) -> None:
        self._held_for = held_for
        self._by_tenant = by_tenant
        self._addresses: dict[str, _Group[Account]] = {}
        self._tenants: dict[str, _Group[Account]] = {}
        self._shares: dict[tuple[str, str], _Share[Account]] = {}
        self._share_of: dict[Account, _Share[Account]] = {}

    def put(self, account: Account, size: int) -> None:
        """The account has ``size`` bytes now; 0 removes it."""
        share = self._share_of.get(account)
        if share is None:
            if not size:
                return
            share = self._share_of[account] = self._share(*self._held_for(account))
        change = size - share.accounts.pop(account, 0)
        if size:
            share.accounts[account] = size
        else:
            del self._share_of[account]
        share.total += change
        for group in share.groups:
            group.total += change
        if not share.accounts:
            self._remove(share)

    def _share(self, address: str, tenant: str) -> _Share[Account]:
        share = self._shares.get((address, tenant))
        if share is None:
            groups = (
                self._addresses.setdefault(address, _Group()),
                self._tenants.setdefault(tenant, _Group()),
            )
            share = self._shares[address, tenant] = _Share(address, tenant, groups)
            for group in groups:
                group.shares[share] = None
        return share

    def _remove(self, share: _Share[Account]) -> None:
        del self._shares[share.address, share.tenant]
        by_address, by_tenant = share.groups
        del by_address.shares[share], by_tenant.shares[share]
        if not by_address.shares:
            del self._addresses[share.address]
        if not by_tenant.shares:
            del self._tenants[share.tenant]

    def choose(self, floor: int) -> Found[Account] | None:
        """The account to evict; ``None`` if no group holds more than ``floor`` bytes."""
        if not self._addresses:
            return None
        group = max(self._addresses.values(), key=_TOTAL)
        if self._by_tenant:
            group = max(group, max(self._tenants.values(), key=_TOTAL), key=_TOTAL)
        if group.total <= floor:
            return None
        share = max(group.shares, key=_TOTAL)
        largest = max(share.accounts, key=share.accounts.__getitem__)
        return Found(largest, share.address, share.tenant)
