"""The hostile loads: which floods, how many of each, from which addresses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.hostile.floods import FLOODS

ROUND_TRIP_TARGET: Final = 0.015
"""Seconds of p99 an honest round trip may take beside any load, and beside the dearest bytes:"""

DEAR_TARGET: Final = 0.030

UPGRADE_TARGET: Final = 0.1
"""Seconds of p50 of an honest upgrade; none of them may fail."""

HELD_TARGET: Final = 600 * 1024 * 1024
"""Resident bytes beside half messages."""

_ONE: Final = ("127.0.0.2",)
_TWENTY: Final = tuple(f"127.0.1.{number}" for number in range(1, 21))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one row of the table is measured beside.

    Attributes:
        floods: how many connections of each; 0 stands for as many attackers as were asked for.
        connects: silent connects a second.
        sources: the attackers' addresses.
        round_trip: the target for the p99 of an honest round trip, in seconds.
        resident: the target for the relay's memory, in bytes; 0: none.
    """

    what: str
    floods: Mapping[str, int] = field(default_factory=dict)
    connects: float = 0.0
    sources: tuple[str, ...] = _ONE
    round_trip: float = ROUND_TRIP_TARGET
    resident: int = 0

    @property
    def of_any_number(self) -> bool:
        """It is measured once for each number of attackers."""
        return 0 in self.floods.values()

    @property
    def connections(self) -> int:
        """How many its floods need, beside those of as many attackers as were asked for."""
        return sum(
            number * (2 if FLOODS[name].paired else 1) for name, number in self.floods.items()
        )


_CROWDS: Final = frozenset({"unread", "half", "healthz"})
"""Floods that have a number of their own."""


def _connects(rate: int) -> Load:
    return Load(
        what=f"18 connections that ping, and {rate:,} silent connects a second",
        floods={"pings": 18},
        connects=rate,
    )


LOADS: Final[dict[str, Load]] = {
    "idle": Load(what="no attacker, to compare with"),
    **{
        name: Load(
            what=flood.what,
            floods={name: 0},
            round_trip=DEAR_TARGET if name in {"digits", "deep"} else ROUND_TRIP_TARGET,
        )
        for name, flood in FLOODS.items()
        if name not in _CROWDS
    },
    "unread": Load(what=f"500 pairs: {FLOODS['unread'].what}", floods={"unread": 500}),
    "healthz": Load(what=f"900 connections: {FLOODS['healthz'].what}", floods={"healthz": 900}),
    "connects-500": _connects(500),
    "connects-4000": _connects(4_000),
    "half": Load(
        what=f"10,000 connections from 20 addresses: {FLOODS['half'].what}",
        floods={"half": 10_000},
        sources=_TWENTY,
        resident=HELD_TARGET,
    ),
}
"""Name to load."""
