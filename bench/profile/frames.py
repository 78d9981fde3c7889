"""Where the CPU of a round trip goes, by function.

``py-spy`` samples Python and the C it calls, ``perf`` C and the kernel, neither touching the relay;
``cProfile`` is always there, sees Python functions and calls of built-in ones, and slows the short
ones down: its shares mislead, its counts of calls do not.
"""

import cProfile
import pstats
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final

from bench.compare.contenders import Contender, Workshop, workshop
from bench.profile.inside import instrumented

TOOLS: Final = ("py-spy", "perf", "cProfile")
_CONNS: Final = 16


class _Profiler:
    """Profiles the relay's thread from the start; see :class:`bench.profile.host.Instrument`."""

    def __init__(self) -> None:
        self._profile = cProfile.Profile()

    def start(self) -> None:
        self._profile.enable()

    def answer(self, question: str) -> Any:
        self._profile.create_stats()
        table: Any = pstats.Stats(self._profile)
        return [
            [f"{Path(file).name}:{line} {name}", calls, own]
            for (file, line, name), (_, calls, own, _, _) in table.stats.items()
        ]


INSTRUMENT = _Profiler()


def profile_frames(name: str, load: dict[str, float], lines: int, tool: str | None) -> str:
    """The list of functions under ``load``, the most expensive first, as text."""
    tool = tool or next(known for known in TOOLS if known == "cProfile" or shutil.which(known))
    with workshop() as shop:
        look = {"py-spy": _by_py_spy, "perf": _by_perf, "cProfile": _by_cprofile}[tool]
        found, rows = look(shop, name, {"conns": _CONNS, "rate": 0.0, **load})
    label = f"{_CONNS} x {load['size']:.0f} B x {load['window']:.0f}"
    head = f"{name}, {label}, by {tool}; {found['cpu'] * 1e6:.1f} µs a round trip:"
    return "\n".join([head, "", *rows[:lines]])


Found = tuple[dict[str, float], list[str]]


def _by_cprofile(shop: Workshop, name: str, load: dict[str, float]) -> Found:
    with instrumented(shop, name, "frames") as inside:
        found = inside.contender.generator.run("roundtrip", **load)
        table = inside.ask("look")
    whole = sum(own for _, _, own in table)
    table.sort(key=lambda entry: -entry[2])
    return found, [f"{own / whole:6.1%} {calls:9,} calls  {name}" for name, calls, own in table]


def _by_py_spy(shop: Workshop, name: str, load: dict[str, float]) -> Found:
    def command(pid: int, output: Path) -> list[str]:
        return [
            *("py-spy", "record", "--native", "--format", "raw", "--rate", "250"),
            *("--duration", f"{max(1, round(load['seconds']))}"),
            *("--pid", str(pid), "--output", str(output)),
        ]

    with tempfile.TemporaryDirectory(prefix="relay-profile-") as directory:
        output = Path(directory) / "stacks"
        with shop.start(name) as contender:
            found = _watched(contender, load, command(contender.relay.pid, output))
        own: Counter[str] = Counter()
        for line in output.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            own[stack.rpartition(";")[2]] += int(count)
    whole = own.total()
    return found, [f"{count / whole:6.1%}  {name}" for name, count in own.most_common()]


def _by_perf(shop: Workshop, name: str, load: dict[str, float]) -> Found:
    with tempfile.TemporaryDirectory(prefix="relay-profile-") as directory:
        output = str(Path(directory) / "samples")
        with shop.start(name) as contender:
            record = ["perf", "record", "-q", "-F", "1999", "-o", output]
            record += ["-p", str(contender.relay.pid), "--", "sleep", str(load["seconds"])]
            found = _watched(contender, load, record)
        report = subprocess.run(
            ["perf", "report", "-i", output, "--stdio", "-q", "--sort", "dso,symbol"],
            capture_output=True,
            text=True,
            check=True,
        )
    return found, [line.rstrip() for line in report.stdout.splitlines() if line.strip()]


def _watched(contender: Contender, load: dict[str, float], command: list[str]) -> dict[str, float]:
    """A turn with another program looking at the relay meanwhile.

    Raises:
        SystemExit: that program failed; it says why.
    """
    contender.generator.begin("roundtrip", **{**load, "seconds": load["seconds"] + 1.0})
    said: list[subprocess.CompletedProcess[str]] = []

    def watch() -> None:
        said.append(subprocess.run(command, capture_output=True, text=True, check=False))

    watching = threading.Thread(target=watch)
    watching.start()
    found = contender.generator.result()
    watching.join()
    if said[0].returncode:
        raise SystemExit(f"{command[0]}: {said[0].stderr.strip()}")
    return found
