"""Medians, ratios and their spread; the targets beside them; tables and a picture for ``docs/``."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from statistics import median

from bench.compare.plan import RUNS, TARGETS, TLS_RUNS, Target

Figures = dict[tuple[str, str, str], list[float]]
"""By load, contender and figure: one value a round."""

DOCS = Path(__file__).parents[2] / "docs"
_BEGIN, _END = "<!-- compare: begin -->", "<!-- compare: end -->"
_VERSIONS = ("uvloop", "websockets", "aiohttp", "picows", "msgspec")


def summary(figures: Figures, seconds: float) -> tuple[str, bool]:
    """Everything as Markdown, and whether all targets are met."""
    rows, met = [], True
    for target in TARGETS:
        row, reached = _judge(figures, target)
        rows.append(row)
        met = met and reached is not False
    head = ["| target | load | at most | measured | spread | |", "|---|---|---|---|---|---|"]
    versions = ", ".join(f"{name} {version(name)}" for name in _VERSIONS)
    machine = (
        f"Measured in {seconds:.0f} s on {platform.machine()}, Linux {platform.release()}, Python"
        f" {platform.python_version()}, {versions}. Ratios are of medians; the spread is that of"
        " single rounds."
    )
    parts = ["\n".join([*head, *rows]), _table(figures), _others(figures), machine]
    return "\n\n".join(parts), met


def _judge(figures: Figures, target: Target) -> tuple[str, bool | None]:
    """A row of the table; ``None`` if it could not be measured."""
    ours = figures.get((target.load, target.ours, target.figure), [])
    theirs = figures.get((target.load, target.theirs, target.figure), [])
    begin = f"| {target.what} | {target.load} | {target.bound:g} |"
    if not ours or (target.theirs and not theirs):
        return f"{begin} – | | not measured |", None
    value = median(ours) / (median(theirs) if target.theirs else 1)
    rounds = [a / b for a, b in zip(ours, theirs or [1.0] * len(ours), strict=False)]
    reached = value <= target.bound
    spread = f"{_short(min(rounds))}–{_short(max(rounds))}"
    return f"{begin} {_short(value)} | {spread} | {'met' if reached else '**missed**'} |", reached


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _table(figures: Figures) -> str:
    """CPU a round trip, in microseconds, of everybody."""
    loads = [load.label for load in RUNS]
    names = sorted({name for _, name, figure in figures if figure == "cpu"} - _SPECIAL)
    lines = [f"| CPU a round trip, µs | {' | '.join(loads)} |", "|---" * (len(loads) + 1) + "|"]
    for name in names:
        cells = [_microseconds(figures.get((load, name, "cpu"))) for load in loads]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


_SPECIAL = {"with idle", "without", "calm", "stormy"}


def _microseconds(values: list[float] | None) -> str:
    return f"{median(values) * 1e6:.1f}" if values else "–"


def _others(figures: Figures) -> str:
    """Connections: what one costs, and a reconnect storm."""
    lines = ["| connections | memory each | CPU an upgrade |", "|---|---|---|"]
    for label, name, figure in figures:
        if figure == "memory" and name not in {"fewest", "most"} and label != "storm":
            cpu = figures[label, name, "cpu_upgrade"]
            memory = median(figures[label, name, figure]) / 1024
            lines.append(f"| {name} | {memory:.1f} KiB | {_microseconds(cpu)} µs |")
    storm = figures.get(("storm", "reconnects", "seconds"))
    if storm:
        calm, stormy = (figures["storm", name, "p99"][0] * 1e3 for name in ("calm", "stormy"))
        lines.append("")
        lines.append(
            f"Reconnect storm: all registered after {storm[0]:.2f} s; the p99 of traffic beside it"
            f" went from {calm:.2f} to {stormy:.2f} ms."
        )
    return "\n".join(lines)


def write(figures: Figures, text: str) -> None:
    """Put the text into docs/performance.md, raw figures and a picture beside it."""
    page = DOCS / "performance.md"
    before, _, rest = page.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}")
    raw = {" / ".join(key): values for key, values in figures.items()}
    (DOCS / "performance.json").write_text(json.dumps(raw, indent=1) + "\n")
    _draw(figures, DOCS / "images" / "cpu.png")


def _draw(figures: Figures, file: Path) -> None:
    """CPU a round trip of everybody under each load, logarithmic (extra ``bench``)."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: pip install 'fastrelay[bench]'")
        return
    file.parent.mkdir(exist_ok=True)
    loads = [load for load in (*RUNS, *TLS_RUNS) if not load.rate]
    loads = list(dict.fromkeys(loads))
    names = sorted({name for _, name, figure in figures if figure == "cpu"} - _SPECIAL)
    picture = Figure(figsize=(10, 4.5), layout="constrained")
    axes = picture.subplots()
    for number, name in enumerate(names):
        places = [place + number * 0.09 for place in range(len(loads))]
        values = [median(figures.get((load.label, name, "cpu"), [0.0])) * 1e6 for load in loads]
        axes.bar(places, values, 0.085, label=name)
    axes.set_yscale("log")
    axes.set_ylabel("CPU of the relay a round trip, µs")
    axes.set_xticks([place + 0.09 * (len(names) - 1) / 2 for place in range(len(loads))])
    axes.set_xticklabels([load.label for load in loads])
    axes.legend(fontsize=8, ncols=3)
    picture.savefig(file, dpi=110)
