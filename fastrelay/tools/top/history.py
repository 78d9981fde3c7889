"""The values for sparklines and charts: one for each reading of the metrics page."""

from collections import deque
from typing import Final

from fastrelay.config.metric_names import PREFIX
from fastrelay.tools.top.figures import Values
from fastrelay.tools.top.scrape import ScrapeDelta

DIRECTIONS: Final = (("up", "phone_to_binary"), ("down", "binary_to_phone"))
"""From phones, and to phones."""

_KEPT: Final = 1000
"""More than any terminal has columns."""


class History:
    """The last looks; ``None`` for one that found no relay.

    Attributes:
        frames: frames per second of each direction.
        connections: live WebSockets, those of binaries and phones.
    """

    def __init__(self) -> None:
        self.frames: dict[str, deque[float | None]] = {
            direction: deque(maxlen=_KEPT) for _, direction in DIRECTIONS
        }
        self.connections: deque[float | None] = deque(maxlen=_KEPT)

    def add(self, delta: ScrapeDelta) -> None:
        """Add a look."""
        for direction, kept in self.frames.items():
            kept.append(frames_per_second(delta, direction))
        self.connections.append(connections(delta))

    def add_gap(self) -> None:
        """Add a look that found no relay."""
        for kept in (*self.frames.values(), self.connections):
            kept.append(None)

    @property
    def all_frames(self) -> Values:
        """Frames per second of both directions together."""
        pairs = zip(*self.frames.values(), strict=True)
        return [None if up is None or down is None else up + down for up, down in pairs]


def frames_per_second(delta: ScrapeDelta, direction: str) -> float:
    """The rate of forwarded frames of one direction."""
    return delta.rate(f"{PREFIX}frames_forwarded_total", direction=direction)


def connections(delta: ScrapeDelta) -> float:
    """Binaries and phones that are connected."""
    kinds = ("binaries", "phones")
    return sum(delta.after.value(f"{PREFIX}connected_{kind}") for kind in kinds)
