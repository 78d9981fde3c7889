"""``python -m bench lines``: peers on slow lines, ours beside the Go relay.

Each cell has a line of its own, in packets: a rate, a round trip and a queue of 128 KiB. A peer
that reads steadily is at its far end. ``down``: a binary sends to a phone there, with 3 MiB on
their way, and the phone pings. ``up``: a phone floods a binary there, and a sibling sends a small
frame. Needs root, for network namespaces. Cells on slow lines are measured at the same time.
"""

import argparse
import asyncio
import contextlib
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.compare.contenders import workshop
from bench.lines.cell import Cell, Found, measure
from bench.lines.line import why_impossible
from bench.support.generator import Failed
from bench.support.machine import describe
from bench.support.relay import running

_TOGETHER: Final = 5_000_000
"""Bytes a second of all lines that are measured at the same time."""

_MOST_TOGETHER: Final = 8
_KB: Final = 1000
_DIRECTIONS: Final = ("down", "up")
_RATES: Final = (60 * _KB, 300 * _KB, 2_500 * _KB, 10_000 * _KB)
_ROUND_TRIPS: Final = (0.01, 0.1)
_PAYLOADS: Final = (1024, 64 * 1024)


def main(arguments: Sequence[str]) -> int:
    """Print the matrix as a Markdown table; returns 1 if a cell could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench lines", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few cells, less than a minute")
    parser.add_argument(
        "--rates", type=_rates, default=_RATES, help="kB a second, as in 60,300; default: all"
    )
    parser.add_argument("--seconds", type=float, default=14.0, help="of a cell; default: 14")
    parser.add_argument("--flags", default="", help="more flags for ours")
    parser.add_argument("--before", type=Path, help="another checkout of ours, a column of its own")
    parser.add_argument("--without-go", action="store_true", help="ours alone")
    options = parser.parse_args(arguments)
    if reason := why_impossible():
        print(f"no slow line can be made here: {reason}", file=sys.stderr)
        return 1
    cells = _cells(options.rates, quick=options.quick)
    seconds = min(options.seconds, 4.0) if options.quick else options.seconds
    columns: dict[str, list[Found | None]] = {}
    for name, command in _contenders(options):
        columns[name] = _measure_all(command, cells, seconds)
        print(f"{name}: done", file=sys.stderr)
    print("\n".join(_table(cells, columns)))
    print(f"\n{seconds:g} s a cell; {describe()}.")
    return int(any(found is None for column in columns.values() for found in column))


def _rates(text: str) -> tuple[int, ...]:
    """Bytes a second, from kB a second with commas between."""
    return tuple(int(rate) * _KB for rate in text.split(","))


def _cells(rates: tuple[int, ...], *, quick: bool) -> list[Cell]:
    return [
        Cell(direction, rate, round_trip, payload)
        for rate in (_RATES[1:2] if quick else rates)
        for direction in _DIRECTIONS
        for round_trip in (_ROUND_TRIPS[1:] if quick else _ROUND_TRIPS)
        for payload in _PAYLOADS
    ]


def _contenders(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    ours = (
        f"{shlex.quote(sys.executable)} -P -m fastrelay --insecure-listen 0.0.0.0:{{port}}"
        " --metrics-listen 127.0.0.1:{metrics} --upgrade-burst 0"
    )
    if options.before is not None:
        path = shlex.quote(str(options.before.resolve()))
        yield "before", f"env PYTHONPATH={path} {ours}"
    here = shlex.quote(str(Path(__file__).parents[2]))
    yield "fastrelay", f"env PYTHONPATH={here} {ours} {options.flags}"
    if options.without_go:
        return
    with workshop() as shop:
        if reason := shop.why_absent("go"):
            print(f"no Go relay: {reason}", file=sys.stderr)
        else:
            yield "Go", f"{shop.directory / 'go-relay'} 0.0.0.0:{{port}}"


def _measure_all(command: str, cells: list[Cell], seconds: float) -> list[Found | None]:
    """Each cell on a relay that is new for its batch."""
    found: list[Found | None] = []
    while len(found) < len(cells):
        rest = cells[len(found) :]
        most = max(1, min(_MOST_TOGETHER, int(_TOGETHER / rest[0].rate)))
        batch = [cell for cell in rest[:most] if cell.rate == rest[0].rate]
        with (
            tempfile.TemporaryDirectory(prefix="relay-lines-") as directory,
            running(command, Path(directory) / "log") as relay,
        ):
            found += asyncio.run(_measure_batch(batch, relay.port, seconds))
    return found


async def _measure_batch(cells: list[Cell], port: int, seconds: float) -> list[Found | None]:
    async def one(number: int, cell: Cell) -> Found | None:
        with contextlib.suppress(Failed):
            return await measure(cell, port, seconds, f"line-{number}")
        return None

    return await asyncio.gather(*(one(number, cell) for number, cell in enumerate(cells)))


def _table(cells: list[Cell], columns: dict[str, list[Found | None]]) -> Iterator[str]:
    head = "".join(f" {name}: lives | small, median (longest) | kB/s |" for name in columns)
    yield f"| | rate | round trip | frames |{head}"
    yield "|---|---|---|---|" + "---|---|---|" * len(columns)
    for row, cell in enumerate(cells):
        figures = " ".join(_figures(column[row]) for column in columns.values())
        yield (
            f"| {cell.direction} | {cell.rate / _KB:,.0f} kB/s | {cell.round_trip * 1e3:.0f} ms"
            f" | {cell.payload / 1024:.0f} KiB | {figures}"
        )


def _figures(found: Found | None) -> str:
    if found is None:
        return "not measured | | |"
    lives = "yes" if found.survived else f"{found.lived:.0f} s"
    return (
        f"{lives} | {found.small:.2f} s ({found.largest:.2f} s) | {found.throughput / _KB:,.0f} |"
    )
