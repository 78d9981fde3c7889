"""Large payloads as buffers of their own, against everything joined before it is written.

Tried, and no help: CPU a round trip alike at 4,096 B x 8, which is joined mostly either way, and
1.16 of what is shipped at 65,000 B x 4, where the copy shows.
"""

from bench.compare.plan import LARGE, MEDIUM
from fastrelay.protocol import envelope

LOADS = (MEDIUM, LARGE)


def change() -> None:
    """Join whatever its size."""
    envelope._JOIN_BELOW = 1 << 30  # type: ignore[misc]
