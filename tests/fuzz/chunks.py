"""How an input says where it is cut."""

from collections.abc import Iterator
from itertools import cycle


def cut(plan: bytes, data: bytes) -> Iterator[bytes]:
    """``data`` in pieces of the sizes in ``plan``, in turn; 0 or no plan: all that is left."""
    sizes = cycle(plan or b"\0")
    while data:
        size = next(sizes) or len(data)
        yield data[:size]
        data = data[size:]
