"""How a process that holds many connections collects garbage."""

import gc
from typing import Final

_YOUNG_OBJECTS: Final = 10_000
_NEVER: Final = 10_000


def configure_gc() -> None:
    """Let no collection look at what lives long: its pause would grow with the connections.

    What is there now is never looked at again; young objects still are, a millisecond's worth at
    a time, which is enough for the cycles that exceptions make. Connections make none
    (bench/experiments/garbage_collector.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 10, _NEVER)
