"""The budget of held bytes, alone: who is charged, and who goes when it is used up."""

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastrelay.config.settings import Limits
from fastrelay.log import Log
from fastrelay.policy.counters import Counters
from fastrelay.policy.held_bytes import HeldBytes, Kind, Ledger
from fastrelay.protocol.close_codes import BACKLOG_FULL, CloseReason
from fastrelay.routing.context import RoutingContext
from fastrelay.routing.phone import Phone as RoutedPhone
from fastrelay.websocket.connection import Connection as LiveConnection

HALF, TLS, PHONE, BINARY = Kind.HALF_MESSAGES, Kind.TLS, Kind.PHONE_BACKLOGS, Kind.BINARY_BACKLOGS
RANKS = {HALF: 0, TLS: 0, PHONE: 1, BINARY: 2}


def ledger(budget: HeldBytes, kind: Kind) -> Ledger:
    (found,) = (ledger for ledger in budget.ledgers if ledger.kind is kind)
    return found


class Peer:
    """Gives its bytes of a kind up when told, but for ``rest``, which cannot be dropped."""

    def __init__(
        self, budget: HeldBytes, address: str = "a", tenant: str = "t", rest: int = 0
    ) -> None:
        self.address = address
        self.tenant = tenant
        self.evictions: list[Kind] = []
        self.held: dict[Kind, int] = {}
        self._budget = budget
        self._rest = rest

    def holds(self, size: int, kind: Kind = PHONE) -> None:
        self.held[kind] = size
        ledger(self._budget, kind).hold(self, size)

    def held_for(self, kind: Kind) -> tuple[str, str]:
        return self.address, self.tenant

    def evict(self, kind: Kind) -> None:
        self.evictions.append(kind)
        self.holds(min(self.held[kind], self._rest), kind)


def gone(*peers: Peer) -> list[int]:
    """The places of those that were evicted."""
    return [place for place, peer in enumerate(peers) if peer.evictions]


def test_the_largest_of_a_tenant_goes_whoever_came_last() -> None:
    budget = HeldBytes(limit=100)
    small, large, last = peers = [Peer(budget) for _ in range(3)]
    small.holds(30)
    large.holds(60)
    last.holds(10)
    assert (budget.total, gone(*peers)) == (100, [])
    last.holds(11)
    assert gone(*peers) == [1]
    assert budget.total == 41
    last.holds(70)
    assert gone(*peers) == [1]
    last.holds(71)
    assert gone(*peers) == [1, 2]
    assert budget.total == 30


def test_what_the_kernel_has_begun_to_take_is_counted_and_evicts_no_other() -> None:
    budget = HeldBytes(limit=100)
    stuck, other = Peer(budget, rest=40), Peer(budget)
    stuck.holds(90)
    other.holds(20)
    assert (gone(stuck, other), budget.total) == ([0], 60)
    other.holds(100)
    assert (gone(stuck, other), budget.total) == ([0], 140)
    budget.binary_backlogs.pin(object(), 500)
    other.holds(99)
    other.holds(100)
    assert gone(stuck, other) == [0]
    stuck.holds(0)
    assert budget.total == 600


def test_the_order_of_kinds() -> None:
    budget = HeldBytes(limit=100)
    kinds = [BINARY, PHONE, TLS, HALF]
    peers = [Peer(budget, address=kind.value, tenant=kind.value) for kind in kinds]
    for size, kind, peer in zip((25, 25, 20, 30), kinds, peers, strict=True):
        peer.holds(size, kind)
    order = []
    for _ in kinds:
        newcomer = Peer(budget, "new", "new")
        newcomer.holds(100 - budget.total + 1, BINARY)
        order += [peer.address for peer in peers if peer.evictions and peer.address not in order]
        newcomer.holds(0, BINARY)
        if len(order) == 3:
            break
    assert order == ["half_messages", "tls", "phone_backlogs"]
    assert [ledger.evicted for ledger in budget.ledgers] == [1, 1, 1, 0]


def test_a_thousand_tenants_of_one_address_are_one_group() -> None:
    budget = HeldBytes(limit=10_500)
    honest = Peer(budget, "honest", "honest")
    honest.holds(500)
    crowd = [Peer(budget, "crowd", f"t{number}") for number in range(2_000)]
    for peer in crowd:
        peer.holds(10)
    assert len(gone(*crowd)) == 1_000
    assert not honest.evictions


def test_many_addresses_of_one_tenant_are_one_group() -> None:
    budget = HeldBytes(limit=10_500)
    honest = Peer(budget, "honest", "honest")
    honest.holds(500)
    crowd = [Peer(budget, f"a{number}", "crowd") for number in range(2_000)]
    for peer in crowd:
        peer.holds(10)
    assert len(gone(*crowd)) == 1_000
    assert not honest.evictions


def test_behind_one_address_tenants_are_told_apart() -> None:
    budget = HeldBytes(limit=16_000)
    honest = Peer(budget, "proxy", "honest")
    honest.holds(1_000)
    crowd = [Peer(budget, "proxy", "crowd") for _ in range(80)]
    for peer in crowd:
        peer.holds(200)
    assert len(gone(*crowd)) == 5
    assert not honest.evictions


def test_of_a_tenant_the_address_with_most_goes() -> None:
    budget = HeldBytes(limit=1_000)
    honest = Peer(budget, "honest", "t")
    honest.holds(100, BINARY)
    crowd = [Peer(budget, "crowd", "t") for _ in range(50)]
    for peer in crowd:
        peer.holds(20, BINARY)
    assert len(gone(*crowd)) == 5
    assert not honest.evictions


def test_half_messages_are_taken_by_address_alone() -> None:
    budget = HeldBytes(limit=100)
    first, second = Peer(budget, "a", "one"), Peer(budget, "b", "one")
    other = Peer(budget, "c", "other")
    first.holds(30, HALF)
    second.holds(30, TLS)
    other.holds(40, HALF)
    first.holds(31, HALF)
    assert gone(first, second, other) == [2]


def test_one_message_is_safe_while_others_hold_more() -> None:
    budget = HeldBytes(limit=100, modest=20)
    honest, hostile = Peer(budget, "honest", "honest"), Peer(budget, "hostile", "hostile")
    more = Peer(budget, "hostile", "hostile")
    hostile.holds(50)
    more.holds(45)
    honest.holds(20, HALF)
    assert gone(honest, hostile, more) == [1]
    hostile.holds(35)
    honest.holds(21, HALF)
    assert (gone(honest), hostile.evictions) == ([0], [PHONE])


def test_where_nobody_holds_more_than_a_message_the_order_is_kept() -> None:
    budget = HeldBytes(limit=100, modest=60)
    half, backlog = Peer(budget, "a", "a"), Peer(budget, "b", "b")
    half.holds(41, HALF)
    backlog.holds(60)
    assert gone(half, backlog) == [0]


def test_who_holds_nothing_is_forgotten() -> None:
    budget = HeldBytes(limit=100)
    peers = [Peer(budget, f"a{number}", f"t{number}") for number in range(50)]
    for peer in peers:
        peer.holds(2)
    (_, groups, _) = budget._groups
    assert len(groups._addresses) == 50
    for peer in peers:
        peer.holds(0)
        peer.holds(0)
    assert (budget.total, budget._groups) == (0, ())
    assert groups._shares or len(groups._addresses) == len(groups._tenants)
    assert not any(ledger._sizes or ledger._pinned for ledger in budget.ledgers)


LIMIT, MODEST = 100, 10


class Model(RuleBasedStateMachine):
    """Peers hold and give back, beside a model that knows only what the protocol says."""

    @initialize(modest=st.sampled_from([0, MODEST]))
    def begin(self, modest: int) -> None:
        self.modest = modest
        self.evicted: list[tuple[Kind, str, str, int]] = []
        self.budget = HeldBytes(LIMIT, modest, lambda *what: self.evicted.append(what))
        self.peers = [
            Peer(self.budget, address, tenant, rest)
            for address in "xyz"
            for tenant in "uv"
            for rest in (0, 7)
        ]

    @rule(
        which=st.integers(0, 11),
        kind=st.sampled_from(list(Kind)),
        size=st.integers(0, 60),
    )
    def holds(self, which: int, kind: Kind, size: int) -> None:
        peer = self.peers[which]
        if kind in peer.evictions:
            if size < peer.held[kind]:
                peer.holds(size, kind)
            if not peer.held[kind]:
                peer.evictions.remove(kind)  # a connection of the same place comes anew
            return
        before = self.droppable() | {(peer, kind): size}
        had = len(self.evicted)
        grows = size > peer.held.get(kind, 0)
        peer.holds(size, kind)
        new = self.evicted[had:]
        if not grows or sum(before.values()) <= LIMIT:
            assert not new
        victims = [found for found in before if found[1] in found[0].evictions]
        assert len(victims) == len(new)
        for told in new:
            assert sum(before.values()) > LIMIT
            victim = next(
                (one, its)
                for one, its in victims
                if (its, one.address, one.tenant, before.get((one, its))) == told
            )
            self.is_right(before, *victim)
            del before[victim]
        assert sum(before.values()) <= LIMIT

    def droppable(self) -> dict[tuple[Peer, Kind], int]:
        return {
            (peer, kind): size
            for peer in self.peers
            for kind, size in peer.held.items()
            if kind not in peer.evictions and size
        }

    def is_right(self, held: dict[tuple[Peer, Kind], int], victim: Peer, kind: Kind) -> None:
        """No group of an earlier rank should have gone, nor a larger one of the same."""

        def largest(rank: int) -> int:
            sums: dict[tuple[str, str], int] = {}
            for (peer, its), size in held.items():
                if RANKS[its] == rank:
                    keys = [("address", peer.address)]
                    keys += [("tenant", peer.tenant)] if rank else []
                    for key in keys:
                        sums[key] = sums.get(key, 0) + size
            return max(sums.values(), default=0)

        rank = RANKS[kind]
        modest = self.modest if any(largest(other) > self.modest for other in range(3)) else 0
        assert all(largest(earlier) <= modest for earlier in range(rank))
        of_address, of_tenant, alike = (
            sum(
                size
                for (peer, its), size in held.items()
                if RANKS[its] == rank
                and (not by_address or peer.address == victim.address)
                and (not by_tenant or peer.tenant == victim.tenant)
            )
            for by_address, by_tenant in ((True, False), (False, True), (True, True))
        )
        assert largest(rank) == (max(of_address, of_tenant) if rank else of_address) > modest
        for (peer, its), size in held.items():
            if RANKS[its] == rank and (peer.address, peer.tenant) == (
                victim.address,
                victim.tenant,
            ):
                assert size <= held[victim, kind]
        assert alike >= held[victim, kind]

    @invariant()
    def sums_are_right(self) -> None:
        for one in self.budget.ledgers:
            assert one.total == sum(peer.held.get(one.kind, 0) for peer in self.peers)
        assert sum(self.droppable().values()) == self.budget._droppable <= LIMIT


TestModel = Model.TestCase


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), max_size=60))
def test_the_sum_is_right_and_within_the_limit(updates: list[tuple[int, int]]) -> None:
    budget = HeldBytes(limit=100)
    phones = [Peer(budget) for _ in range(5)]
    for which, size in updates:
        before = [phone.held.get(PHONE, 0) for phone in phones]
        grows = size > before[which]
        phones[which].holds(size)
        before[which] = size
        dropped = [n for n, phone in enumerate(phones) if phone.held.get(PHONE, 0) != before[n]]
        assert budget.total == sum(phone.held.get(PHONE, 0) for phone in phones) <= 100
        if sum(before) <= 100:
            assert not dropped
        else:
            assert grows
            (one,) = dropped
            assert before[one] == max(before)


# -- the budget of one phone ----------------------------------------------------------------------


class Connection:
    address = "a"

    def __init__(self) -> None:
        self.failed: list[CloseReason] = []

    def fail(self, close: CloseReason) -> None:
        self.failed.append(close)


def test_four_mebibytes_are_within_the_budget_of_a_phone_and_one_byte_more_is_not() -> None:
    budget, connection = HeldBytes(2**40), Connection()
    nothing = cast("Any", None)
    lines: list[str] = []
    log = Log(lines.append)
    context = RoutingContext(Limits(), Counters(), budget, waker=nothing, log=log)
    one = RoutedPhone("s1", context, router=nothing)
    one.connection = cast("LiveConnection", connection)
    one.on_backlog(4 * 1024 * 1024)
    assert (budget.total, connection.failed, lines) == (4 * 1024 * 1024, [], [])
    one.on_backlog(4 * 1024 * 1024 + 1)
    assert connection.failed == [BACKLOG_FULL]
    (line,) = lines
    assert "msg=binary_forwarder_phone_enqueue_failed " in line
