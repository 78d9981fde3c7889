"""The figures of a turn by name: what each is, and the unit in which it is shown."""

from typing import Final, NamedTuple


class Figure(NamedTuple):
    """``scale`` turns a value of the results, in SI units, into the unit that is shown."""

    what: str
    unit: str
    scale: float = 1.0


FIGURES: Final = {
    "instructions": Figure("instructions a message", ""),
    "cpu": Figure("CPU of the relay a message", "µs", 1e6),
    "rate": Figure("messages", "/s"),
    "p50": Figure("latency, median", "ms", 1e3),
    "p99": Figure("latency, 99th percentile", "ms", 1e3),
    "p999": Figure("latency, 99.9th percentile", "ms", 1e3),
    "longest": Figure("latency, longest", "ms", 1e3),
    "busy": Figure("CPU of the relay", "% of a core", 100.0),
    "generator": Figure("CPU of the load generator", "% of a core", 100.0),
    "late": Figure("load generator behind schedule, 99th percentile", "ms", 1e3),
    "memory": Figure("memory of an idle connection", "bytes"),
    "cpu_upgrade": Figure("CPU of the relay an upgrade", "µs", 1e6),
    "upgrades": Figure("upgrades", "/s"),
    "resident": Figure("resident memory of the relay", "MiB", 2**-20),
    "held": Figure("connections held", ""),
    "seconds": Figure("until all were connected again", "s"),
    "redialled": Figure("connections dialled a second time", ""),
}


def shown(figure: str, value: float) -> str:
    """A value with its unit."""
    _, unit, scale = FIGURES[figure]
    return f"{short(value * scale)} {unit}".strip()


def short(value: float) -> str:
    """A number to three digits, or to the unit."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
