"""What an idle connection weighs, by source line (tracemalloc), by type, and as RSS.

RSS is measured on a relay without tracemalloc, which needs memory of its own. What RSS has beyond
tracemalloc's sum was not allocated through Python: OpenSSL's, libuv's, and the gaps that
allocators leave.
"""

import gc
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

from bench.compare.contenders import workshop
from bench.compare.turns import fresh
from bench.profile.inside import instrumented

_SOURCE = Path(__file__).parents[2]


class _Memory:
    """See :class:`bench.profile.host.Instrument`."""

    def start(self) -> None:
        tracemalloc.start()

    def answer(self, question: str) -> Any:
        gc.collect()
        kinds = Counter(
            f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects()
        )
        snapshot = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, __file__)]
        )
        lines = {
            f"{_short(entry.traceback[0].filename)}:{entry.traceback[0].lineno}": [
                entry.size,
                entry.count,
            ]
            for entry in snapshot.statistics("lineno")
        }
        return {"lines": lines, "kinds": kinds}


INSTRUMENT = _Memory()


def _short(filename: str) -> str:
    path = Path(filename)
    if path.is_relative_to(_SOURCE) and "site-packages" not in path.parts:
        return str(path.relative_to(_SOURCE))
    return "/".join(path.parts[-2:])


def profile_memory(name: str, count: int, lines: int) -> str:
    """The tables of ``count`` idle connections, as text."""
    # They make what is made once, and fill memory freed at start, into which RSS need not grow.
    warm_up = count // 4
    with workshop() as shop:
        resident = fresh(shop, name, count)["memory"]
        with instrumented(shop, name, "memory") as inside:
            generator = inside.contender.generator
            generator.run("connect", count=warm_up)
            before = inside.ask("look")
            generator.run("connect", count=count)
            after = inside.ask("look")
    grown = {}
    for line, (size, number) in after["lines"].items():
        size_then, number_then = before["lines"].get(line, (0, 0))
        grown[line] = (size - size_then) / count, (number - number_then) / count
    allocated = sum(size for size, _ in grown.values())
    text = [
        f"{name}, {count:,} idle connections; bytes and allocations of one",
        "(asyncio/runners.py runs the loop: its line stands for what uvloop itself makes):",
        "",
        *_by_line(grown, lines),
        "",
        f"{allocated:8.0f}  by tracemalloc, in all",
        f"{resident:8.0f}  by RSS, of a relay without tracemalloc",
        f"{resident - allocated:8.0f}  beyond Python's allocators: OpenSSL, libuv, gaps",
        "",
        "objects of one that the garbage collector knows of:",
        "",
        *_by_kind(before["kinds"], after["kinds"], count),
    ]
    return "\n".join(text)


def _by_line(grown: dict[str, tuple[float, float]], most: int) -> list[str]:
    ordered = sorted(grown.items(), key=lambda item: -item[1][0])
    return [
        f"{size:8.0f} {number:6.2f}  {line}" for line, (size, number) in ordered[:most] if size >= 1
    ]


def _by_kind(before: dict[str, int], after: dict[str, int], count: int) -> list[str]:
    each = {kind: (number - before.get(kind, 0)) / count for kind, number in after.items()}
    return [
        f"{number:8.2f}  {kind}"
        for kind, number in sorted(each.items(), key=lambda item: -item[1])
        if number >= 0.05
    ]
