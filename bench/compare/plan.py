"""What is run, and what must come out: the targets of ``docs/performance.md`` as data."""

from typing import Final, NamedTuple


class Load(NamedTuple):
    """Messages on their way: so many homes, bytes a message, messages of each at once.

    Attributes:
        shape: see :mod:`bench.load.traffic`.
        rate: messages a second of all together; 0.0: as fast as they come.
    """

    conns: int
    size: int
    window: int
    rate: float = 0.0
    shape: str = "roundtrip"

    @property
    def label(self) -> str:
        """As the tables write it."""
        text = f"{self.conns} x {self.size} B x {self.window}"
        if self.shape != "roundtrip":
            text = f"{_SHAPES[self.shape]}, {text}"
        return f"{text} at {self.rate:.0f}/s" if self.rate else text

    def arguments(self) -> dict[str, float]:
        """What a load generator is told of it."""
        return {name: getattr(self, name) for name in ("conns", "size", "window", "rate")}


_SHAPES: Final = {"up": "phone to binary", "down": "binary to 16 phones"}


class Duel(NamedTuple):
    """``ours`` and ``theirs`` under one load, in turns."""

    load: Load
    ours: str
    theirs: str


SMALL, BATCH = Load(16, 256, 1), Load(16, 256, 32)
MEDIUM, LARGE = Load(16, 4096, 8), Load(16, 65_000, 4)
OFFERED = Load(16, 256, 1, rate=2000.0)
FOUR: Final = (SMALL, BATCH, MEDIUM, LARGE)
PEERS_OF_SMALL: Final = ("go", "picows", "websockets", "aiohttp", "haproxy", "pipe")

FLOOR: Final = "haproxy"
"""What it takes of another's CPU is the least that any relay can."""

_PLAIN, _TLS = ("fastrelay", "go"), ("fastrelay tls", "go tls")
SIZES: Final = (64, 256, 1024, 4096, 16_384, 65_000, 200_000)
MOST_ON_ITS_WAY: Final = 3 * 2**20
"""Bytes of one phone at once: a relay closes a phone that has more than 4 MiB waiting for it."""

DUELS: Final[dict[str, tuple[Duel, ...]]] = {
    "roundtrip": (
        *(Duel(SMALL, "fastrelay", peer) for peer in PEERS_OF_SMALL),
        *(
            Duel(load, "fastrelay", peer)
            for load in (BATCH, MEDIUM, LARGE)
            for peer in ("go", "picows")
        ),
    ),
    "floor": tuple(Duel(load, FLOOR, "go") for load in FOUR),
    "tls": tuple(Duel(load, *_TLS) for load in FOUR),
    "offered": (Duel(OFFERED, *_PLAIN),),
    "sweep": tuple(
        Duel(load, *pair)
        for pair in (_PLAIN, _TLS)
        for load in (
            Load(16, size, min(window, MOST_ON_ITS_WAY // size))
            for size in SIZES
            for window in (1, 32)
        )
        if load not in FOUR
    ),
    "oneway": tuple(
        Duel(load, *pair)
        for pair in (_PLAIN, _TLS)
        for load in (
            Load(16, 256, 32, shape="up"),
            Load(16, 4096, 8, shape="up"),
            Load(4, 256, 4, shape="down"),
            Load(4, 4096, 4, shape="down"),
        )
    ),
}
"""By section of the comparison."""

JUDGED: Final = frozenset({"roundtrip", "floor", "tls", "offered"})
"""Those that targets, or what is said of them, rest on."""

IDLE: Final = (_PLAIN, _TLS)
"""Whose idle connections and upgrades are measured."""

SECTIONS: Final = (*DUELS, "idle", "scaling", "storm", "tail")


class Target(NamedTuple):
    """``ours / theirs`` of ``figure`` under ``load`` must be at most ``bound``.

    Attributes:
        theirs: empty: the figure itself is judged.
        then: a bound for later; 0.0 for none.
    """

    what: str
    figure: str
    load: str
    ours: str
    theirs: str
    bound: float
    then: float = 0.0


def _ratios(
    ours: str, theirs: str, bounds: tuple[tuple[Load, float], ...], then: float = 0.0
) -> list[Target]:
    """The bound for later is that of the first load."""
    what = f"CPU a round trip against {theirs}"
    return [
        Target(what, "cpu", load.label, ours, theirs, bound, 0.0 if number else then)
        for number, (load, bound) in enumerate(bounds)
    ]


WITH_IDLE, WITHOUT = "with 10,000 idle", "without"
LAST_STEP, FIRST_STEP = "most", "fewest"

TARGETS: Final[tuple[Target, ...]] = (
    *_ratios("fastrelay", "haproxy", ((SMALL, 1.6),), then=1.3),
    *_ratios("fastrelay", "go", ((SMALL, 0.45), (BATCH, 0.15), (MEDIUM, 0.08), (LARGE, 0.12))),
    *_ratios("fastrelay", "websockets", ((SMALL, 0.25),)),
    *_ratios("fastrelay", "aiohttp", ((SMALL, 0.4),)),
    *_ratios(
        *("fastrelay", "picows", ((SMALL, 1.15), (BATCH, 0.4), (MEDIUM, 0.6), (LARGE, 0.9))),
        then=1.0,
    ),
    Target("p99 round trip against go", "p99", OFFERED.label, "fastrelay", "go", 0.6),
    Target("bytes an idle connection", "memory", "idle", "fastrelay", "", 4096),
    Target("CPU an upgrade against go", "cpu_upgrade", "idle", "fastrelay", "go", 0.65),
    *_ratios(
        "fastrelay tls", "go tls", ((SMALL, 0.65), (BATCH, 0.2), (MEDIUM, 0.15), (LARGE, 0.2))
    ),
    Target("bytes an idle TLS connection", "memory", "idle", "fastrelay tls", "", 14 * 1024),
    Target(
        *("CPU a TLS handshake and upgrade against go tls", "cpu_upgrade"),
        *("idle", "fastrelay tls", "go tls", 0.9),
    ),
    Target(
        *("CPU a round trip with 10,000 idle beside, against none", "cpu"),
        *("scaling", WITH_IDLE, WITHOUT, 1.1),
    ),
    Target(
        *("bytes a connection, the last 5,000 of 15,000 against those after the first 1,000",),
        *("memory", "scaling", LAST_STEP, FIRST_STEP, 1.1),
    ),
)
