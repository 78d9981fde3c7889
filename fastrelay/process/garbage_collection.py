"""Garbage collection in a process that holds many connections."""

import gc
from typing import Final

_YOUNG_OBJECTS: Final = 10_000
_NEVER: Final = 10_000


def configure_gc() -> None:
    """Exclude long-lived objects from garbage collections.

    Otherwise the pauses of collections would grow with the number of connections. The objects that
    exist now are never examined again. Young objects are still examined, in collections of about a
    millisecond. This is enough for the reference cycles that exceptions make. Connections make no
    cycles (bench/experiments/garbage_collector.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 10, _NEVER)
