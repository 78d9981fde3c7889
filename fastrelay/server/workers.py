"""One worker among several: what it shares with the others, and how they reach each other."""

import socket
from collections.abc import Callable, Mapping
from typing import Final

from fastrelay.config.settings import Settings
from fastrelay.http.connection import Route
from fastrelay.http.responses import SERVICE_UNAVAILABLE
from fastrelay.log import LineCounts, Log
from fastrelay.loop.fair_reads import FairScheduler
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.splice import Splices
from fastrelay.policy.caps import LiveConnections, Others
from fastrelay.policy.counters.tallies import Connected
from fastrelay.policy.counters.wakes import WakeCounts
from fastrelay.policy.held_bytes import HeldBytes
from fastrelay.policy.ownership import owner_of
from fastrelay.policy.pending import PendingConnections
from fastrelay.policy.shared.buckets import SharedTokenBuckets
from fastrelay.policy.shared.connections import SharedConnections
from fastrelay.policy.shared.endings import SharedEndings
from fastrelay.policy.shared.layout import SharedState
from fastrelay.policy.token_buckets import Buckets
from fastrelay.push.fingerprint import Fingerprints
from fastrelay.push.forwarded import ForwardedWaker
from fastrelay.push.waker import NoWaker, StoppableWaker
from fastrelay.server.admitted import Admitted
from fastrelay.server.adopting import Incoming
from fastrelay.server.handover import OWNER_AWAY, Outgoing
from fastrelay.server.machine import Adopt, Counts, Limit, Refuse
from fastrelay.server.owner import Owner
from fastrelay.websocket.connection import Connection

SILENT: Final = LineCounts(0, 0)


class WorkerCounts:
    """The counts of one worker, in shared memory."""

    def __init__(self, shared: SharedState, index: int) -> None:
        self.counters = shared.counters_of(index)
        self.gauges = shared.gauges_of(index)
        self.upgrades = self.counters.upgrades


class Workers:
    """The other workers, as one of them sees them; see :class:`fastrelay.server.machine.Machine`.

    Args:
        index: the number of this worker, from 0.
        has_push: whether the relay sends wakes.
        forward: hands a wake to the supervisor; returns whether there was room for it.

    Attributes:
        counts: the counts of this worker.
        splices: the TLS connections that others own.
    """

    def __init__(
        self,
        shared: SharedState,
        index: int,
        settings: Settings,
        *,
        has_push: bool,
        forward: Callable[[str, str, str], bool],
    ) -> None:
        self._shared = shared
        self._index = index
        self._settings = settings
        self._has_push = has_push
        self._forward = forward
        self._keyed = shared.keyed
        self._connected = [gauges.connected for gauges in shared.each_gauges()]
        self._pulses = [pulse.cells for pulse in shared.pulses]
        self._held: HeldBytes | None = None
        self._log_lines: Callable[[], LineCounts] = lambda: SILENT
        self._owner: Owner | None = None
        self._outgoing: dict[int, Outgoing] = {}
        self._incoming: dict[int, Incoming] = {}
        self._is_open = True
        self.counts = WorkerCounts(shared, index)
        self._counted = SharedConnections(shared.connections, index, self._keyed)
        self._endings = SharedEndings(shared.ending_rows, index)
        self.others: Others | None = self._counted

    # -- what the relay asks for --------------------------------------------------------------

    def make_buckets(
        self, limit: Limit, burst: int, refill: float, capacity: int, clock: Callable[[], float]
    ) -> Buckets:
        shared = self._shared
        cells = shared.upgrade_buckets if limit is Limit.UPGRADES else shared.plain_buckets
        return SharedTokenBuckets(cells, burst, refill, self._keyed, clock)

    def make_waker(self, settings: Settings, counts: WakeCounts, log: Log) -> StoppableWaker:
        if not self._has_push:
            return NoWaker(log)
        return ForwardedWaker(self._forward, counts, log, Fingerprints(self._shared.key))

    def share_budget(self, held: HeldBytes) -> None:
        self._held = held
        own = self._pulses[self._index]
        others = [cells for place, cells in enumerate(self._pulses) if place != self._index]

        def publish(droppable: int) -> None:
            own[2] = droppable

        held.share(
            held.limit // self._shared.workers,
            publish,
            lambda: int(sum([cells[2] for cells in others])),
        )

    def expose(
        self,
        counts: Counts,
        held: HeldBytes,
        log_lines: Callable[[], LineCounts],
        certificate_expiry: Callable[[], float] | None,
        *,
        has_push: bool,
    ) -> Mapping[str, Route]:
        self._log_lines = log_lines
        return {}

    def connected(self, own: Connected) -> tuple[int, int]:
        rows = self._connected
        return sum([row.binaries for row in rows]), sum([row.phones for row in rows])

    def uptime(self, since: float, now: float) -> float:
        return now - self._shared.started_at

    def route(self, owner: Owner) -> Adopt:
        self._owner = owner
        index, keyed, workers = self._index, self._keyed, self._shared.workers
        carries = self._settings.tls is not None  # the connections of others, too

        def adopt(admitted: Admitted, refuse: Refuse) -> None:
            place = owner_of(admitted.server_id, keyed, workers)
            if (place == index or carries) and not self._has_room():
                refuse(SERVICE_UNAVAILABLE)
            elif place == index:
                owner.adopt(admitted)
            else:
                self._hand_over(place, admitted, refuse)

        return adopt

    # -- the other workers --------------------------------------------------------------------

    def attach(
        self,
        live: LiveConnections[Connection],
        wheel: TimerWheel,
        pending: PendingConnections,
        scheduler: FairScheduler,
        held: HeldBytes,
    ) -> None:
        """Give it the parts of the relay that handing over needs."""
        self.splices = Splices(wheel, scheduler, held, self._settings.intervals.close)
        self._live = live
        self._wheel = wheel
        self._pending = pending

    def _has_room(self) -> bool:
        """Whether this process may have one more connection, whatever the relay-wide cap says."""
        here = len(self._live) + len(self.splices)
        if here < self._settings.limits.connections_of_worker:
            return True
        self.counts.counters.tallies.relay_full += 1
        return False

    def _may_adopt(self, arrived: bool) -> bool:
        """Whether a connection of another worker may be adopted; a refusal is counted.

        Args:
            arrived: whether its socket has arrived. It has not if this process has no descriptor
                left.
        """
        if not (self._is_open and arrived):
            self.counts.counters.tallies.owner_away += 1
            return False
        return self._has_room()

    def _hand_over(self, place: int, admitted: Admitted, refuse: Refuse) -> None:
        way = self._outgoing.get(place)
        if way is None:
            self.counts.counters.tallies.owner_away += 1
            refuse(OWNER_AWAY)
        else:
            way.hand_over(admitted, refuse)

    def connect(self, place: int, outgoing: socket.socket, incoming: socket.socket) -> None:
        """Another worker can be reached through these sockets; its earlier ones are closed."""
        assert self._owner is not None
        for way in (self._outgoing.get(place), self._incoming.get(place)):
            if way is not None:
                way.close()
        self._outgoing[place] = self._new_way(place, outgoing)
        self._incoming[place] = Incoming(
            place, incoming, self._counted, self._endings, self._owner, self._may_adopt
        )

    def _new_way(self, place: int, sock: socket.socket) -> Outgoing:
        return Outgoing(
            place,
            sock,
            self._counted,
            self._endings,
            self._wheel,
            self._pending,
            self.splices,
            self._settings.intervals.handover,
            self.counts.counters.tallies,
        )

    def refuse_all(self) -> None:
        """Neither adopt connections nor hand them over from now on."""
        self._is_open = False
        for way in self._outgoing.values():
            way.stop()

    def close(self) -> None:
        """Close the ways to all other workers, and drop their connections that go through here."""
        self.splices.abort()
        for outgoing in self._outgoing.values():
            outgoing.close()
        for incoming in self._incoming.values():
            incoming.close()

    # -- what the others see of this one ------------------------------------------------------

    def beat(self, now: float, late: float) -> None:
        """The event loop runs; its last tick was ``late`` seconds late."""
        own = self._pulses[self._index]
        own[1] = late
        own[0] = now

    def publish(self) -> None:
        """Write what is known here alone to the shared memory."""
        gauges = self.counts.gauges
        if self._held is not None:
            self._held.enforce()
            for place, total in enumerate(self._held.totals()):
                gauges.held[place] = total
        for place, count in enumerate(self._log_lines()):
            gauges.log_lines[place] = count
