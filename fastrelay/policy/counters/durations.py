"""Histograms of durations: frame transit, upgrades, event loop lag.

The transit of frames is sampled: only one read in many is timed, so that the others cost one
comparison of two integers (``bench/micro/test_counters.py``).
"""

from typing import Final

from fastrelay.policy.cells import PRIVATE, Cells
from fastrelay.policy.counters.histogram import Histogram

_TRANSIT_BOUNDS: Final = (
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.05,
    0.1,
    0.5,
    1.0,
    10.0,
)
"""Seconds, from the transit time on an idle relay to the write deadline, which no wait exceeds."""

_UPGRADE_BOUNDS: Final = (
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
)
"""Seconds. Up to the deadline for a request head, since no upgrade takes longer."""

_LAG_BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
"""Seconds."""


class Durations:
    """The histograms of one relay.

    Attributes:
        phone_to_binary, binary_to_phone: for sampled reads, the time from when the bytes have been
            read and decoded until the kernel has taken everything that was sent because of them.
        server, client: for every request on the endpoint, the time from the accept of its
            connection until its status line.
        lag: how late the relay's timers ran.
    """

    def __init__(self, cells: Cells = PRIVATE) -> None:
        self.phone_to_binary = Histogram(_TRANSIT_BOUNDS, cells)
        self.binary_to_phone = Histogram(_TRANSIT_BOUNDS, cells)
        self.server = Histogram(_UPGRADE_BOUNDS, cells)
        self.client = Histogram(_UPGRADE_BOUNDS, cells)
        self.lag = Histogram(_LAG_BOUNDS, cells)
