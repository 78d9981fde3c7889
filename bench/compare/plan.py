"""What is run, and what must come out: the targets of ``docs/performance.md`` as data."""

from typing import NamedTuple


class Load(NamedTuple):
    """Round trips: so many pairs, bytes a message, messages of each on their way."""

    conns: int
    size: int
    window: int
    rate: float = 0.0

    @property
    def label(self) -> str:
        """As the tables write it."""
        text = f"{self.conns} x {self.size} B x {self.window}"
        return f"{text} at {self.rate:.0f}/s" if self.rate else text


SMALL, BATCH = Load(16, 256, 1), Load(16, 256, 32)
MEDIUM, LARGE = Load(16, 4096, 8), Load(16, 65_000, 4)
OFFERED = Load(16, 256, 1, rate=3000.0)
LOADS = (SMALL, BATCH, MEDIUM, LARGE)

RUNS: dict[Load, tuple[str, ...]] = {
    SMALL: ("fastrelay", "go", "picows", "websockets", "aiohttp", "haproxy", "pipe"),
    BATCH: ("fastrelay", "go", "picows"),
    MEDIUM: ("fastrelay", "go", "picows"),
    LARGE: ("fastrelay", "go", "picows"),
    OFFERED: ("fastrelay", "go"),
}
TLS_RUNS: dict[Load, tuple[str, ...]] = dict.fromkeys(LOADS, ("fastrelay tls", "go tls"))

IDLE = ("fastrelay", "go", "fastrelay tls", "go tls")
"""Whose idle connections and upgrades are measured."""


class Target(NamedTuple):
    """``ours / theirs`` of ``figure`` under ``load`` must be at most ``bound``.

    ``theirs`` empty: the figure itself, in the unit of the label.
    """

    what: str
    figure: str
    load: str
    ours: str
    theirs: str
    bound: float


def _ratios(
    figure: str, ours: str, theirs: str, bounds: tuple[tuple[Load, float], ...]
) -> list[Target]:
    what = {"cpu": "CPU a round trip", "p99": "p99 round trip"}[figure]
    return [
        Target(f"{what} against {theirs}", figure, load.label, ours, theirs, bound)
        for load, bound in bounds
    ]


TARGETS: tuple[Target, ...] = (
    *_ratios("cpu", "fastrelay", "haproxy", ((SMALL, 1.6),)),
    *_ratios(
        "cpu", "fastrelay", "go", ((SMALL, 0.45), (BATCH, 0.15), (MEDIUM, 0.08), (LARGE, 0.12))
    ),
    *_ratios("cpu", "fastrelay", "websockets", ((SMALL, 0.25),)),
    *_ratios("cpu", "fastrelay", "aiohttp", ((SMALL, 0.4),)),
    *_ratios(
        "cpu", "fastrelay", "picows", ((SMALL, 1.15), (BATCH, 0.4), (MEDIUM, 0.6), (LARGE, 0.9))
    ),
    *_ratios("p99", "fastrelay", "go", ((OFFERED, 0.6),)),
    Target("memory of an idle connection, bytes", "memory", "idle", "fastrelay", "", 4096),
    Target("CPU an upgrade against go", "cpu_upgrade", "idle", "fastrelay", "go", 0.65),
    *_ratios(
        "cpu",
        "fastrelay tls",
        "go tls",
        ((SMALL, 0.65), (BATCH, 0.2), (MEDIUM, 0.15), (LARGE, 0.2)),
    ),
    Target(
        "memory of an idle TLS connection, bytes", "memory", "idle", "fastrelay tls", "", 14 * 1024
    ),
    Target(
        "CPU a TLS handshake and upgrade against go tls",
        "cpu_upgrade",
        "idle",
        "fastrelay tls",
        "go tls",
        0.9,
    ),
    Target(
        "CPU a round trip with 10,000 idle beside, against none",
        "cpu",
        "beside",
        "with idle",
        "without",
        1.1,
    ),
    Target(
        "memory a connection at most, against at fewest", "memory", "scaling", "most", "fewest", 1.1
    ),
)
