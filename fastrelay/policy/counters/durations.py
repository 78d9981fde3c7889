"""How long things take: a frame's way through the relay, an upgrade, a timer's delay.

All three are histograms of plain numbers. The way of a frame is timed for one read in many, so
that the others pay one comparison of two integers for it (``bench/micro/test_counters.py``).
"""

from typing import Final

from fastrelay.policy.counters.histogram import Histogram

_TRANSIT_BOUNDS: Final = (
    *(0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01),
    *(0.05, 0.1, 0.5, 1.0, 10.0),
)
"""From what a frame takes that meets nobody to the write interval: nothing waits for longer."""

_UPGRADE_BOUNDS: Final = (
    *(0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""To the time a request head has: no upgrade takes longer."""

_LAG_BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)


class Durations:
    """The histograms of one relay.

    Attributes:
        phone_to_binary, binary_to_phone: of sampled reads, the time from having been read and
            decoded until the kernel has all that came of them.
        server, client: of all requests on the endpoint, the time from the accept until the status
            line.
        lag: how late timers ran.
    """

    def __init__(self) -> None:
        self.phone_to_binary = Histogram(_TRANSIT_BOUNDS)
        self.binary_to_phone = Histogram(_TRANSIT_BOUNDS)
        self.server = Histogram(_UPGRADE_BOUNDS)
        self.client = Histogram(_UPGRADE_BOUNDS)
        self.lag = Histogram(_LAG_BOUNDS)
