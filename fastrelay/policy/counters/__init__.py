"""The relay's counters: plain numbers, and the events that advance them.

They do not depend on Prometheus; ``fastrelay.metrics`` reads them at each scrape.
"""

from fastrelay.policy.cells import PRIVATE, Cells
from fastrelay.policy.counters.closes import Closes
from fastrelay.policy.counters.durations import Durations
from fastrelay.policy.counters.frames import FrameCounts
from fastrelay.policy.counters.refused import RefusedCounts
from fastrelay.policy.counters.tallies import Connected, Tallies
from fastrelay.policy.counters.upgrades import UpgradeEvents
from fastrelay.policy.counters.wakes import WakeCounts
from fastrelay.policy.held_bytes import Kind


class Counters:
    """The counters of one relay; all start at 0.

    Attributes:
        upgrades: counts upgrade attempts.
        held_evicted: the connections evicted for held bytes, in the order of :class:`Kind`.
    """

    __slots__ = (
        "closes",
        "durations",
        "frames",
        "held_evicted",
        "refused",
        "tallies",
        "upgrades",
        "wakes",
    )

    def __init__(self, cells: Cells = PRIVATE) -> None:
        self.upgrades = UpgradeEvents(cells)
        self.refused = RefusedCounts(cells)
        self.frames = FrameCounts(cells)
        self.closes = Closes(cells)
        self.durations = Durations(cells)
        self.wakes = WakeCounts(cells)
        self.tallies = cells.record(Tallies)
        self.held_evicted = cells.integers(len(Kind))


class Gauges:
    """Current numbers. Those of a worker become 0 when it dies.

    Attributes:
        held: the bytes kept for peers, in the order of :class:`Kind`.
        log_lines: the lines of log that were lost so far, and that wait to be written.
    """

    __slots__ = ("connected", "held", "log_lines")

    def __init__(self, cells: Cells = PRIVATE) -> None:
        self.connected = cells.record(Connected)
        self.held = cells.integers(len(Kind))
        self.log_lines = cells.integers(2)
