"""Rows of figures as a table for a terminal, or for a page of Markdown."""

from collections.abc import Sequence
from typing import Any, Final

from bench.hostile.loads import LOADS, UPGRADE_TARGET

_MIB: Final = 1024 * 1024
HEAD: Final = (
    "load",
    "round trip p50 / p99 / longest, ms",
    "unanswered",
    "honest upgrades, p50 ms",
    "relay runs / waits for a core",
    "RSS, MiB",
    "held, MiB",
    "attack, MB/s",
    "attackers ended",
    "target",
)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people: columns of equal width."""
    lines = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    padded = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    return "\n".join(padded)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The same for a page."""
    lines = [HEAD, ["---"] * len(HEAD), *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: dict[str, Any]) -> list[str]:
    if "failed" in row:
        return [row["label"], f"not measured: {row['failed']}", *[""] * (len(HEAD) - 2)]
    return [
        row["label"],
        " / ".join(_ms(row[figure]) for figure in ("p50", "p99", "longest")),
        _lost(row),
        _upgrades(row),
        f"{_or_dash(row['cores'], 1, '.2f')} / {_or_dash(row['waiting'], 1, '.2f')}",
        f"{_or_dash(row['resident_before'], _MIB)} → {_or_dash(row['resident_peak'], _MIB)}",
        _or_dash(row["held_peak"], _MIB, ".1f"),
        f"{row['attack']['sent'] / row['attack_seconds'] / 1e6:.1f}",
        _ended(row["attack"]),
        _judged(row),
    ]


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1e3
    return f"{milliseconds:.0f}" if milliseconds >= 20 else f"{milliseconds:.1f}"


def _or_dash(value: float | None, unit: int, form: str = ".0f") -> str:
    return "–" if value is None else format(value / unit, form)


def _lost(row: dict[str, Any]) -> str:
    """Messages without an answer, of how many; and what else went wrong."""
    parts = [f"{row['unanswered']} of {row['round_trips']}"]
    parts += [
        f"{row[figure]} {name}"
        for figure, name in (("pairs_cut", "pairs cut"), ("wrong", "wrong"))
        if row[figure]
    ]
    return ", ".join(parts)


def _upgrades(row: dict[str, Any]) -> str:
    served = f"{row['upgrades_served']} of {row['upgrades_tried']}"
    others = [f"{count} {name}" for name, count in row["outcomes"].items() if name != "101"]
    middle = _ms(row["upgrade_p50"]) if row["upgrades_served"] else "–"
    return f"{served}, {middle}" + (f" ({', '.join(others)})" if others else "")


def _ended(attack: dict[str, Any]) -> str:
    """Attackers that the relay disconnected, by close code and reason; and what did not work."""
    parts = [f"{count} × {code}" for code, count in sorted(attack["ended"].items())] or ["none"]
    if missing := attack["wanted"] - attack["connected"]:
        parts.append(f"{missing} never connected")
    if attack.get("failed"):
        parts.append(f"{attack['failed']} of {attack['connects']} connects failed")
    return ", ".join(parts)


def _judged(row: dict[str, Any]) -> str:
    """Whether the row keeps what is promised to honest peers."""
    load = LOADS[row["load"]]
    kept = (
        row["p99"] <= load.round_trip
        and not row["unanswered"]
        and not row["pairs_cut"]
        and row["upgrades_served"] == row["upgrades_tried"]
        and row["upgrade_p50"] <= UPGRADE_TARGET
        and (not load.resident or (row["resident_peak"] or 0) <= load.resident)
    )
    return "met" if kept else "**missed**"
