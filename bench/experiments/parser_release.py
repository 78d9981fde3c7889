"""The request head's parser let go at the upgrade, against kept as long as the connection lives.

uvloop's transport remembers ``data_received`` of the last protocol that had one.

What it costs is in docs/performance.md (what made the difference).
"""

from fastrelay.loop.fair_reads import FairReader

IDLE = True


def change() -> None:
    """Leave ``data_received`` out of protocols that are called by other methods."""
    del FairReader.data_received
