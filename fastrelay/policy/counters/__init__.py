"""The relay's counters: plain numbers, and the events that advance them.

They know nothing of Prometheus; ``fastrelay.metrics`` reads them when it is scraped.
"""

from dataclasses import dataclass, field

from fastrelay.policy.counters.closes import Closes
from fastrelay.policy.counters.durations import Durations
from fastrelay.policy.counters.frames import FrameCounts
from fastrelay.policy.counters.wakes import WakeCounts


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of one relay; all start at 0."""

    frames: FrameCounts = field(default_factory=FrameCounts)
    closes: Closes = field(default_factory=Closes)
    durations: Durations = field(default_factory=Durations)
    wakes: WakeCounts = field(default_factory=WakeCounts)
