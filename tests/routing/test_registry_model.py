"""A model of everything that claims, registers, dies and comes back.

The model drives the real switchboard, registry, takeover probe and timer wheel on a clock of its
own, with connections that only note what they are told, and is compared after every step.
"""

import asyncio
from collections import Counter
from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastrelay.config.settings import Intervals, Limits
from fastrelay.log import Log
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.metrics import make_metrics
from fastrelay.policy.held_bytes import HeldBytes
from fastrelay.policy.registry import Registry
from fastrelay.protocol.close_codes import HEARTBEAT_TIMEOUT, CloseReason
from fastrelay.protocol.ending import Ending, closed_by_peer, closed_by_relay, lost
from fastrelay.routing.binary import Binary
from fastrelay.routing.context import RoutingContext
from fastrelay.routing.phone import Phone
from fastrelay.routing.router import Router
from fastrelay.routing.waker import Waker
from fastrelay.websocket.connection import Connection
from tests.support.clock import Loop

SERVER_IDS = ("a", "b")
CAP, GRACE, PROBE = 2, 30, 10


NOTICES = {closed_by_peer(None): 1005, closed_by_peer(4001): 4001, lost(None): 1001}
"""The ways in which a peer leaves, and what the binary is told when it is a phone."""


class Wire:
    """A connection that notes what it is told; its peer is the test."""

    def __init__(self, handler: Binary | Phone) -> None:
        self.handler = handler
        self.is_open = True
        self.ended = False
        self.said: CloseReason | None = None
        self.notices: list[bytes] = []
        self.asked = b""

    address = ""
    unowned = 0

    def send(self, pieces: tuple[bytes, ...], frames: int, owner: Phone) -> bool:
        if self.is_open:
            self.notices += pieces
        return self.is_open

    def close(self, close: CloseReason) -> None:
        if self.is_open:
            self.is_open, self.said = False, close
            self.handler.on_closing(closed_by_relay(close))

    fail = close

    def ping(self, payload: bytes) -> None:
        self.asked = payload

    def tcp_bytes(self) -> None:
        """It shows no sign of life but its pongs."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def receive(self, data: bytes) -> None: ...
    def hold_undecoded(self, size: int) -> None: ...

    def peer_has_left(self) -> bool:
        return False

    def end(self, ending: Ending) -> None:
        was_open, self.is_open, self.ended = self.is_open, False, True
        if was_open:
            self.handler.on_closing(ending)
        self.handler.on_closed()


class Slot:
    """What the model believes of one server-id."""

    def __init__(self) -> None:
        self.holder: Wire | None = None
        self.grace_until = 0.0
        self.phones: dict[Wire, Wire | None] = {}  # and the holder each registered with
        self.probe_until = 0.0
        self.newcomers: list[Wire] = []


class Model(RuleBasedStateMachine):
    """Peers come and go, and time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Loop(1000.0)
        wheel = TimerWheel(cast("asyncio.AbstractEventLoop", self.clock), 1.0)
        metrics = make_metrics()
        self.collectors = metrics.registry
        self.tallies = metrics.counters.tallies
        self.registry: Registry[Binary, Phone] = Registry(CAP)
        intervals = Intervals(grace=GRACE, takeover_probe=PROBE)
        log = Log(lambda line: None)
        limits = Limits()
        context = RoutingContext(
            limits,
            metrics.counters,
            HeldBytes(limits.held_bytes),
            cast("Waker", None),
            log,
        )
        self.router = Router(self.registry, wheel, intervals, context, metrics.upgrades)
        self.wheel = wheel
        self.slots: dict[str, Slot] = {}
        self.wires: list[Wire] = []
        self.said: dict[Wire, int] = {}
        self.notices: dict[Wire, list[str]] = {}
        self.counts: Counter[str] = Counter()

    # -- what happens

    @rule(server_id=st.sampled_from(SERVER_IDS))
    def claim(self, server_id: str) -> None:
        binary = self.router.new_binary(server_id, "1", "r")
        wire = self._wire(binary)
        self.router.admit_binary(binary)(b"")
        slot = self.slots.get(server_id)
        if slot is None or slot.holder is None:
            self._install(server_id, wire)
        else:
            if not slot.probe_until:
                slot.probe_until = self.clock.now + PROBE
            slot.newcomers.append(wire)

    @rule(server_id=st.sampled_from(SERVER_IDS))
    def register(self, server_id: str) -> None:
        phone = self.router.new_phone(server_id)
        wire = self._wire(phone)
        self.router.admit_phone(phone, "", "r")(b"")
        slot = self.slots.get(server_id)
        if slot is None:
            self._says(wire, 4404, "reject_404")
        elif len(slot.phones) == CAP:
            self._says(wire, 4429, "reject_429")
        else:
            slot.phones[wire] = slot.holder
            self.counts["phone"] += 1

    @precondition(lambda self: any(not wire.ended for wire in self.wires))
    @rule(data=st.data(), how=st.sampled_from(list(NOTICES)))
    def leave(self, data: st.DataObject, how: Ending) -> None:
        wire = data.draw(st.sampled_from([wire for wire in self.wires if not wire.ended]))
        server_id = wire.handler.server_id
        slot = self.slots.get(server_id)
        holder = slot.holder if slot else None
        wire.end(how)
        if slot is None:
            return
        if wire is holder:
            self._released(server_id)
        elif wire in slot.newcomers:
            slot.newcomers.remove(wire)
            self.counts["reject_409"] += 1
        elif wire in slot.phones:
            self._phone_gone(slot, wire, NOTICES[how])

    @rule(server_id=st.sampled_from(SERVER_IDS))
    def pong(self, server_id: str) -> None:
        slot = self.slots.get(server_id)
        if slot is not None and slot.holder is not None:
            slot.holder.handler.on_pong(slot.holder.asked)
            self._settle(server_id, alive=True)

    @rule(server_id=st.sampled_from(SERVER_IDS))
    def holder_is_being_closed(self, server_id: str) -> None:
        slot = self.slots.get(server_id)
        if slot is not None and slot.holder is not None and slot.holder.is_open:
            slot.holder.close(HEARTBEAT_TIMEOUT)
            self.said[slot.holder] = 1011
            self._released(server_id)

    def _registered(self) -> list[Wire]:
        return [wire for slot in self.slots.values() for wire in slot.phones]

    @precondition(_registered)
    @rule(data=st.data())
    def phone_is_being_closed(self, data: st.DataObject) -> None:
        wire = data.draw(st.sampled_from(self._registered()))
        wire.close(HEARTBEAT_TIMEOUT)
        self._says(wire, 1011)
        self._phone_gone(self.slots[wire.handler.server_id], wire, 1001)

    def _addressable(self) -> list[Wire]:
        """Phones that know of a binary."""
        phones = [pair for slot in self.slots.values() for pair in slot.phones.items()]
        return [wire for wire, holder in phones if holder is not None]

    @precondition(_addressable)
    @rule(data=st.data())
    def directed(self, data: st.DataObject) -> None:
        wire = data.draw(st.sampled_from(self._addressable()))
        wire.handler.close_as_requested(4401, [])
        self._says(wire, 4401)
        del self.slots[wire.handler.server_id].phones[wire]  # and nobody is to be told

    @rule(seconds=st.sampled_from([1, 5, 9, 10, 25, 31]))
    def time_passes(self, seconds: int) -> None:
        end = self.clock.now + seconds
        self.clock.advance(seconds)
        for server_id, slot in list(self.slots.items()):
            if slot.probe_until and slot.probe_until <= end:
                self._settle(server_id, alive=False)
            elif slot.holder is None and slot.grace_until <= end:
                del self.slots[server_id]
                self.counts["expired"] += 1
                for phone in slot.phones:
                    self._says(phone, 1000)

    # -- what must follow

    def _wire(self, handler: Binary | Phone) -> Wire:
        wire = Wire(handler)
        handler.connection = cast("Connection", wire)
        self.wires.append(wire)
        self.notices[wire] = []
        return wire

    def _says(self, wire: Wire, code: int, outcome: str = "") -> None:
        self.said.setdefault(wire, code)
        if outcome:
            self.counts[outcome] += 1

    def _released(self, server_id: str) -> None:
        slot = self.slots[server_id]
        slot.holder, slot.grace_until = None, self.clock.now + GRACE
        self._settle(server_id, alive=False)

    def _phone_gone(self, slot: Slot, wire: Wire, code: int) -> None:
        if slot.holder is slot.phones.pop(wire) and slot.holder is not None:
            notice = f'{{"conn_id":"{wire.handler.conn_id}","close_code":{code}}}'
            self.notices[slot.holder].append(notice)

    def _install(self, server_id: str, wire: Wire) -> None:
        old = self.slots.get(server_id)
        for phone in old.phones if old else ():
            self._says(phone, 4404)
        slot = self.slots[server_id] = Slot()
        slot.holder = wire
        self.counts["binary"] += 1

    def _take_over(self, server_id: str, newcomers: list[Wire]) -> None:
        for wire in newcomers[:-1]:
            self._says(wire, 1013, "reject_409")
        holder = self.slots[server_id].holder
        if holder is not None:
            self._says(holder, 1011)
        self._install(server_id, newcomers[-1])

    def _settle(self, server_id: str, *, alive: bool) -> None:
        slot = self.slots[server_id]
        newcomers, slot.newcomers, slot.probe_until = slot.newcomers, [], 0.0
        if alive:
            for wire in newcomers:
                self._says(wire, 4409, "reject_409")
        elif newcomers:
            self._take_over(server_id, newcomers)

    # -- and is compared

    @invariant()
    def one_holder_a_server_id(self) -> None:
        for server_id in SERVER_IDS:
            slot = self.slots.get(server_id)
            holder = self.registry.holder(server_id)
            believed = slot.holder if slot else None
            assert (holder.connection if holder else None) is believed

    @invariant()
    def counts_are_right(self) -> None:
        slots = self.slots.values()
        assert len(self.registry) == len(slots)
        assert self.registry.connected_binaries == sum(slot.holder is not None for slot in slots)
        assert self.registry.connected_phones == sum(len(slot.phones) for slot in slots)

    @invariant()
    def phones_are_those_of_their_holder(self) -> None:
        for server_id, slot in self.slots.items():
            if slot.holder is not None:
                phones = self.registry._entries[server_id].phones
                assert {phone.connection for phone in phones.values()} == set(slot.phones)

    @invariant()
    def everybody_was_told_what_is_due(self) -> None:
        told = {wire: wire.said.code for wire in self.wires if wire.said is not None}
        expected = {w: c for w, c in self.said.items() if w in told or not w.ended}
        assert told == expected
        assert {w: [n[2:].decode() for n in w.notices] for w in self.wires} == self.notices

    @invariant()
    def every_attempt_is_counted_once(self) -> None:
        cells = {
            (sample.labels["endpoint"], sample.labels["outcome"]): sample.value
            for family in self.collectors.collect()
            for sample in family.samples
            if sample.name == "pyrycode_relay_ws_upgrade_attempts_total"
        }
        assert cells["server", "accept"] == self.counts["binary"]
        assert cells["client", "accept"] == self.counts["phone"]
        assert cells["server", "reject_409"] == self.counts["reject_409"]
        assert cells["client", "reject_404"] == self.counts["reject_404"]
        assert cells["client", "reject_429"] == self.counts["reject_429"]
        assert self.tallies.grace_expiries == self.counts["expired"]

    @invariant()
    def nothing_failed_in_a_timer(self) -> None:
        assert not self.clock.faults

    @invariant()
    def only_what_is_pending_has_a_timer(self) -> None:
        slots = self.slots.values()
        assert len(self.wheel) == sum(s.holder is None for s in slots) + sum(
            bool(s.probe_until) for s in slots
        )


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=100, stateful_step_count=40)
