"""Results as Markdown: targets beside what was measured, and a raw table for each load."""

from pathlib import Path

from bench.compare.contenders import EXTERNAL
from bench.compare.pictures import draw
from bench.compare.plan import DUELS, FIRST_STEP, FLOOR, FOUR, LAST_STEP, TARGETS, Target
from bench.compare.results import Judgement, Results
from bench.compare.tail import EVERYTHING, QUIET, UNTAMED
from bench.compare.tail import table as tail_table
from bench.support.machine import describe

DOCS = Path(__file__).parents[2] / "docs"
_BEGIN, _END = "<!-- compare: begin -->", "<!-- compare: end -->"


def summary(results: Results, seconds: float, note: str = "") -> tuple[str, bool]:
    """Everything as Markdown, and whether all targets that were measured are met."""
    judged = [(target, results.judge(target)) for target in TARGETS]
    parts = [
        _targets(judged),
        _floor(results),
        _external(results),
        _connections(results),
        _storm(results),
        _tail(results),
        *(_loads(results, section) for section in DUELS),
        f"Measured in {seconds:.0f} s on {describe()}. {note}".strip(),
    ]
    met = all(judgement is None or judgement.met for _, judgement in judged)
    return "\n\n".join(part for part in parts if part), met


def _targets(judged: list[tuple[Target, Judgement | None]]) -> str:
    lines = [
        "| target | load | at most | measured | least–most (turns) | |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_row(target, judgement) for target, judgement in judged])


def _row(target: Target, judgement: Judgement | None) -> str:
    bound = f"{target.bound:g}" + (f" (then {target.then:g})" if target.then else "")
    begin = f"| {target.what} | {target.load} | {bound} |"
    if judgement is None:
        return f"{begin} – | | not measured |"
    spread = f"{_spread(judgement)} ({judgement.rounds})"
    verdict = "met" if judgement.met else "**missed**"
    return f"{begin} {_short(judgement.value)} | {spread} | {verdict} |"


def _spread(judgement: Judgement) -> str:
    return f"{_short(judgement.least)}–{_short(judgement.most)}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _floor(results: Results) -> str:
    """What moving the bytes alone takes of the Go relay's CPU: no relay can take less."""
    shares = []
    for load in FOUR:
        judgement = results.judge(Target("", "cpu", load.label, FLOOR, "go", 0.0))
        if judgement is not None:
            shares.append(f"{_short(judgement.value)} ({_spread(judgement)}) at {load.label}")
    moved = (
        f"{FLOOR} moves the same bytes and reads none of them. Its share of go's CPU a round trip:"
    )
    return f"{moved} {', '.join(shares)}." if shares else ""


def _loads(results: Results, section: str) -> str:
    """Every contender under every load of a section."""
    lines = [
        f"`{section}`",
        "",
        "| load | contender | CPU a message, µs | messages/s | p50, ms | p99, ms | its cores |",
        "|---|---|---|---|---|---|---|",
    ]
    seen = dict.fromkeys(
        (duel.load.label, name) for duel in DUELS[section] for name in (duel.ours, duel.theirs)
    )
    rows = [_load_row(results, label, name) for label, name in seen]
    lines += [row for row in rows if row]
    return "\n".join(lines) if any(rows) else ""


def _load_row(results: Results, label: str, name: str) -> str:
    def cell(figure: str, scale: float, form: str) -> str:
        value = results.middle(label, name, figure)
        return "–" if value is None else format(value * scale, form)

    if results.middle(label, name, "cpu") is None:
        return ""
    cells = [
        cell("cpu", 1e6, ".1f"),
        cell("rate", 1, ",.0f"),
        cell("p50", 1e3, ".2f"),
        cell("p99", 1e3, ".2f"),
        cell("busy", 1, ".2f"),
    ]
    return f"| {label} | {name} | {' | '.join(cells)} |"


def _external(results: Results) -> str:
    """The relay of ``--relay`` beside ours."""
    lines = ["| CPU a round trip, µs | fastrelay | external | ratio |", "|---|---|---|---|"]
    for load in FOUR:
        judgement = results.judge(Target("", "cpu", load.label, "fastrelay", EXTERNAL, 0.0))
        if judgement is not None:
            ours, theirs = (
                (results.middle(load.label, name, "cpu") or 0.0) * 1e6
                for name in ("fastrelay", EXTERNAL)
            )
            ratio = f"{_short(judgement.value)} ({_spread(judgement)})"
            lines.append(f"| {load.label} | {ours:.1f} | {theirs:.1f} | {ratio} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _connections(results: Results) -> str:
    """What one costs: fresh relays, and one that fills up, with round trips beside."""
    lines = [
        "| connections | bytes each | CPU an upgrade, µs | upgrades/s |",
        "|---|---|---|---|",
    ]
    named = dict.fromkeys(
        (load, name) for load, name, figure in results.values if figure == "memory"
    )
    for load, name in named:
        if load not in {"idle", "scaling"} or name in {FIRST_STEP, LAST_STEP}:
            continue
        memory, cpu, rate = (
            results.middle(load, name, figure) or 0.0
            for figure in ("memory", "cpu_upgrade", "upgrades")
        )
        label = name if load == "idle" else f"fastrelay, from {name}"
        lines.append(f"| {label} | {memory:,.0f} | {cpu * 1e6:.0f} | {rate:,.0f} |")
    for load, ours, theirs, figure in results.pairs:
        if (load, figure) == ("scaling", "cpu"):
            judgement = results.judge(Target("", figure, load, ours, theirs, 0.0))
            assert judgement is not None
            lines += [
                "",
                f"CPU a round trip {ours} connections beside, against that without them:"
                f" {judgement.value:.2f} ({judgement.least:.2f}–{judgement.most:.2f}).",
            ]
    return "\n".join(lines) if len(lines) > 2 else ""


def _storm(results: Results) -> str:
    count = results.middle("storm", "phones", "held")
    if count is None:
        return ""
    middles = [
        results.middle("storm", name, figure) or 0.0
        for name, figure in (("phones", "seconds"), ("calm", "p99"), ("stormy", "p99"))
    ]
    seconds, calm, stormy = middles
    redialled = results.middle("storm", "phones", "redialled")
    return (
        f"Reconnect storm, {count:,.0f} connections: all were registered again after"
        f" {seconds:.2f} s; {redialled:.0f} had to be dialled a second time. The p99 round trip of"
        f" other traffic rose from {calm * 1e3:.2f} to {stormy * 1e3:.2f} ms."
    )


def _tail(results: Results) -> str:
    judged = [
        results.judge(Target("", "p999", "tail", *names, 0.0))
        for names in ((EVERYTHING, QUIET), (UNTAMED, EVERYTHING))
    ]
    if judged[0] is None or judged[1] is None:
        return ""
    everything, untamed = judged
    return (
        f"{tail_table(results)}\n\nThe p99.9 with info logging and a scrape every second, divided"
        f" by that without: {everything.value:.2f} ({everything.least:.2f}–{everything.most:.2f})."
        f" The p99.9 with Python's settings of the garbage collector, divided by that with ours:"
        f" {untamed.value:.2f} ({untamed.least:.2f}–{untamed.most:.2f})."
    )


def write(results: Results, text: str, docs: Path = DOCS) -> None:
    """Put the text into the page ``performance.md``, raw figures and pictures beside it."""
    page = docs / "performance.md"
    before, _, rest = page.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}")
    (docs / "performance.json").write_text(results.json())
    draw(results, docs / "images")
