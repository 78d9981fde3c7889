"""Where counts are kept: in objects of this process, or in memory that processes share.

Counters consist of *cells*. The code that increases a cell does not need to know where it is
stored. Each cell has 8 bytes and one writer. Other processes never see a part of a store of 8
aligned bytes, so no lock is needed. Counts in shared memory survive a process that is killed.
"""

import ctypes
from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any, Final, Generic, Protocol, TypeVar, cast

Record = TypeVar("Record")
Key = TypeVar("Key")

CELL_BYTES: Final = 8
_MADE_ANEW: Final = frozenset({"__slots__", "__init__", "__dict__", "__weakref__", "__module__"})


class Cells(Protocol):
    """Hands out cells, all at 0. Equal sequences of calls give equal layouts."""

    def integers(self, count: int) -> MutableSequence[int]:
        """This number of integers."""

    def floats(self, count: int) -> MutableSequence[float]:
        """This number of floating-point numbers."""

    def record(self, cls: type[Record]) -> Record:
        """An object with the attributes that are the slots of ``cls``, all integers, and its
        methods. ``cls()`` must make one whose attributes are 0."""


class PrivateCells:
    """Cells that belong to this process alone: the cheapest to advance."""

    def integers(self, count: int) -> MutableSequence[int]:
        return [0] * count

    def floats(self, count: int) -> MutableSequence[float]:
        return [0.0] * count

    def record(self, cls: type[Record]) -> Record:
        return cls()


PRIVATE: Final = PrivateCells()


class SharedCells:
    """Cells in a buffer, one behind the other.

    Args:
        buffer: writable bytes, at a multiple of 8.

    Attributes:
        formats: the format of each cell handed out so far: ``q`` or ``d``, as in ``struct``.
    """

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer
        self.formats = ""

    def integers(self, count: int) -> MutableSequence[int]:
        view: MutableSequence[int] = self._take("q", count)
        return view

    def floats(self, count: int) -> MutableSequence[float]:
        view: MutableSequence[float] = self._take("d", count)
        return view

    def record(self, cls: type[Record]) -> Record:
        names = cast("Iterable[str]", cls.__slots__)  # type: ignore[attr-defined]
        fields = [(name, ctypes.c_int64) for name in names]
        # A slot of the class is an attribute of its own kind; what else it has are methods.
        methods = {
            name: value
            for name, value in vars(cls).items()
            if name not in _MADE_ANEW and name not in names
        }
        made = type(cls.__name__, (ctypes.Structure,), methods | {"_fields_": fields})
        return cast("Record", cast(Any, made).from_buffer(self._take("q", len(fields))))

    def _take(self, form: str, count: int) -> Any:
        at = len(self.formats) * CELL_BYTES
        self.formats += form * count
        return self._buffer[at : at + count * CELL_BYTES].cast("B").cast(form)  # type: ignore[call-overload]


class KeyedCells(Generic[Key]):
    """Counts by key. An unexpected key is counted as well, in an object of this process."""

    def __init__(self, keys: Iterable[Key], cells: Cells) -> None:
        self._places = {key: place for place, key in enumerate(keys)}
        self._counts = cells.integers(len(self._places))
        self._unforeseen: dict[Key, int] = {}

    def __getitem__(self, key: Key) -> int:
        """The count of ``key``; it must have been foreseen."""
        return self._counts[self._places[key]]

    def add(self, key: Key) -> None:
        """Count one more of ``key``."""
        place = self._places.get(key)
        if place is None:
            self._unforeseen[key] = self._unforeseen.get(key, 0) + 1
        else:
            self._counts[place] += 1

    def items(self) -> Iterator[tuple[Key, int]]:
        """The keys in their order, with their counts."""
        for key, place in self._places.items():
            yield key, self._counts[place]
        yield from self._unforeseen.items()


def add_up(target: memoryview, rows: Iterable[memoryview], formats: str) -> None:
    """Write the sums of all rows, cell by cell, to ``target``, which may be one of them."""
    columns = [(_view(row, "q"), _view(row, "d")) for row in rows]
    integers, floats = _view(target, "q"), _view(target, "d")
    for place, form in enumerate(formats):
        if form == "q":
            integers[place] = sum([column[0][place] for column in columns])
        else:
            floats[place] = sum([column[1][place] for column in columns])


def _view(row: memoryview, form: str) -> Any:
    return row.cast("B").cast(form)  # type: ignore[call-overload]
