"""The layout of the shared memory."""

from collections.abc import Iterator
from typing import Any, Final

from fastrelay.policy.cells import CELL_BYTES, SharedCells, add_up
from fastrelay.policy.counters import Counters, Gauges
from fastrelay.policy.ownership import KEY_BYTES, KeyedHash
from fastrelay.policy.shared import buckets, connections, endings, flood
from fastrelay.policy.shared.connections import ConnectionRows

VERSION: Final = 1
"""Of the layout; a process of another version of this package must not read it."""

_HEADER_CELLS: Final = 8
_PULSE_CELLS: Final = 4


def _formats() -> tuple[str, str]:
    """The formats of the cells of all counters, and of all gauges."""
    counters, gauges = (SharedCells(memoryview(bytearray(1 << 16))) for _ in range(2))
    Counters(counters)
    Gauges(gauges)
    return counters.formats, gauges.formats


class Pulse:
    """What one worker reports about itself.

    Attributes:
        cells: when its loop was last seen to run, in seconds of the monotonic clock; how late its
            last tick was; the bytes that it holds for peers and could drop.
    """

    __slots__ = ("cells",)

    def __init__(self, cells: Any) -> None:
        self.cells = cells


class _Regions:
    """Cuts a buffer into pieces from its beginning."""

    def __init__(self, buffer: memoryview | None) -> None:
        self._buffer = buffer
        self.size = 0

    def take(self, count: int, form: str = "q", width: int = CELL_BYTES) -> Any:
        start, self.size = self.size, self.size + -(-count * width // CELL_BYTES) * CELL_BYTES
        if self._buffer is None:
            return None
        return self._buffer[start : start + count * width].cast(form)  # type: ignore[call-overload]


class SharedState:
    """The shared memory of a relay with ``workers`` workers.

    There are rows of counters and gauges for each worker, for the supervisor (the row behind the
    last worker's) and, for counters, one for all workers that have died.

    Args:
        buffer: :func:`size_of` bytes, all 0 at first; ``None``: only :attr:`size` can be used.

    Attributes:
        size: bytes.
        header: version, workers; when the relay was started, and the key of :attr:`keyed`.
        pulses: of the workers.
        upgrade_buckets, plain_buckets: the cells of token buckets.
        flood_rows: the flood limit of the log, for each worker and the supervisor.
        ending_rows: how spliced connections have ended, for each worker.
    """

    def __init__(self, buffer: memoryview | None, workers: int) -> None:
        regions = _Regions(buffer)
        self.workers = workers
        self._formats, self._gauge_formats = _formats()
        self.header = regions.take(_HEADER_CELLS)
        self.pulses = [Pulse(regions.take(_PULSE_CELLS, "d")) for _ in range(workers)]
        self._counters = [regions.take(len(self._formats)) for _ in range(workers + 2)]
        self._gauges = [regions.take(len(self._gauge_formats)) for _ in range(workers + 1)]
        self._connections = [self._connection_rows(regions) for _ in range(workers)]
        self.flood_rows = [regions.take(flood.PLACES) for _ in range(workers + 1)]
        self.ending_rows = [regions.take(endings.PLACES) for _ in range(workers)]
        self.upgrade_buckets = regions.take(buckets.BUCKETS, "d")
        self.plain_buckets = regions.take(buckets.BUCKETS, "d")
        self.size = regions.size

    def _connection_rows(self, regions: _Regions) -> ConnectionRows:
        transfers = self.workers * connections.MOST_TRANSFERS
        return ConnectionRows(
            counts=regions.take(2),
            by_address=regions.take(connections.PLACES, "I", 4),
            open=regions.take(transfers),
            keys=regions.take(transfers * connections.KEYS),
            adopted=regions.take(transfers),
        )

    # -- the header ---------------------------------------------------------------------------

    def initialise(self, key: bytes, started_at: float) -> None:
        """Fill the header of memory that is all 0; ``started_at``: of the monotonic clock."""
        self.header[0], self.header[1] = VERSION, self.workers
        self.header.cast("B").cast("d")[2] = started_at
        at = 4 * CELL_BYTES
        self.header.cast("B")[at : at + KEY_BYTES] = key

    def check(self) -> None:
        """Check that a process of this version made the memory, for the same number of workers.

        Raises:
            ValueError: this is not so.
        """
        if (self.header[0], self.header[1]) != (VERSION, self.workers):
            raise ValueError(f"shared memory of version {self.header[0]}, not {VERSION}")

    @property
    def started_at(self) -> float:
        """When the relay was started, in seconds of the monotonic clock."""
        at: float = self.header.cast("B").cast("d")[2]
        return at

    @property
    def key(self) -> bytes:
        """Random bytes that only the processes of this relay know."""
        at = 4 * CELL_BYTES
        return bytes(self.header.cast("B")[at : at + KEY_BYTES])

    @property
    def keyed(self) -> KeyedHash:
        """The hash of all keys."""
        return KeyedHash(self.key)

    # -- rows ---------------------------------------------------------------------------------

    def counters_of(self, index: int) -> Counters:
        """The counters of one worker; the supervisor's are behind the last worker's."""
        return Counters(SharedCells(self._counters[index].cast("B")))

    def gauges_of(self, index: int) -> Gauges:
        """The gauges of one worker; the supervisor's are behind the last worker's."""
        return Gauges(SharedCells(self._gauges[index].cast("B")))

    @property
    def connections(self) -> list[ConnectionRows]:
        """The rows of connections of all workers."""
        return self._connections

    def each_gauges(self) -> Iterator[Gauges]:
        """The gauges of all workers and of the supervisor."""
        return map(self.gauges_of, range(self.workers + 1))

    def bury(self, index: int) -> None:
        """Add the counters of a worker that has died to those of all dead ones; zero its rows."""
        row, retired = self._counters[index], self._counters[-1]
        add_up(retired, (retired, row), self._formats)
        _zero(row)
        _zero(self._gauges[index])
        _zero(self.pulses[index].cells)
        # What it has adopted its senders still have to know.
        for rows in self._connections[index]._replace(adopted=self._connections[index].counts):
            _zero(rows)

    def sums(self) -> "Sums":
        """Sums over all rows, which stay as they are until they are made again."""
        return Sums(self._counters, self._formats, self._gauges, self._gauge_formats)


class Sums:
    """Counters and gauges whose values are the sums of all rows at the last :meth:`refresh`."""

    def __init__(
        self,
        counters: list[memoryview],
        formats: str,
        gauges: list[memoryview],
        gauge_formats: str,
    ) -> None:
        self._pairs = (
            (memoryview(bytearray(len(formats) * CELL_BYTES)), counters, formats),
            (memoryview(bytearray(len(gauge_formats) * CELL_BYTES)), gauges, gauge_formats),
        )
        self.counters = Counters(SharedCells(self._pairs[0][0]))
        self.gauges = Gauges(SharedCells(self._pairs[1][0]))

    def refresh(self) -> None:
        """Add up all rows again."""
        for target, rows, formats in self._pairs:
            add_up(target, rows, formats)


def size_of(workers: int) -> int:
    """The bytes of shared memory for this number of workers; most of them are never written."""
    return SharedState(None, workers).size


def _zero(row: Any) -> None:
    content = row.cast("B")
    content[:] = bytes(len(content))
