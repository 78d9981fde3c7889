"""The sections of the comparison, one after the other, into :class:`Results`."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from bench.compare.contenders import EXTERNAL, Contender, Workshop
from bench.compare.plan import (
    DUELS,
    FIRST_STEP,
    IDLE,
    JUDGED,
    LAST_STEP,
    SMALL,
    WITH_IDLE,
    WITHOUT,
    Duel,
    Load,
)
from bench.compare.results import Results
from bench.compare.tail import measure_tail
from bench.compare.turns import fresh, say, show, take_turns, turn
from bench.load.traffic import WARM_UP
from bench.support.generator import Generator


class Pace(NamedTuple):
    """How thorough a run is.

    Attributes:
        rounds: turns of each pair where there is a target; a third of them elsewhere.
        seconds: of a turn; ``offered``: of one whose 99th percentile is looked at.
        fresh: relays started anew to measure idle connections, of each contender.
        idle: connections of one of them.
        steps: idle connections of the relay that fills up; the last but one is the crowd of the
            target (10,000).
        storm: connections that come back at once.
        storm_seconds: of traffic that flows meanwhile; longer than the storm.
        tail: connections beside the traffic whose 99.9th percentile is looked at.
        thin: where there is no target, only every so many-th load is run.
    """

    rounds: int
    seconds: float
    offered: float
    fresh: int
    idle: int
    steps: tuple[int, ...]
    storm: int
    storm_seconds: float
    tail: int
    thin: int


FULL = Pace(9, 0.4, 2.0, 5, 3000, (1000, 5000, 10_000, 15_000), 5000, 4.0, 10_000, 1)
QUICK = Pace(3, 0.15, 0.5, 1, 600, (100, 500, 1000, 1500), 600, 1.5, 600, 3)

STORM_LOAD = Load(16, 256, 1, rate=1000.0)


class Comparison:
    """Runs sections.

    Args:
        peers: if not empty, no others are measured beside ours.
    """

    def __init__(
        self, shop: Workshop, results: Results, pace: Pace, peers: Sequence[str] = ()
    ) -> None:
        self._shop = shop
        self._results = results
        self._pace = pace
        self._peers = peers

    def run(self, section: str) -> None:
        """One section of :data:`bench.compare.plan.SECTIONS`."""
        say(f"{section}:")
        if section in DUELS:
            if section in JUDGED:
                self._duels(DUELS[section], self._pace.rounds)
            else:
                self._duels(DUELS[section][:: self._pace.thin], self._fewer)
        else:
            getattr(self, f"_{section}")()

    @property
    def _fewer(self) -> int:
        return max(1, self._pace.rounds // 3)

    def external(self, duels: Sequence[Duel]) -> None:
        """Duels with the relay of ``--relay``."""
        say("external:")
        self._duels(duels, self._pace.rounds)

    def _wanted(self, name: str) -> bool:
        asked_for = (*self._peers, "fastrelay", "fastrelay tls", EXTERNAL)
        if self._peers and name not in asked_for:
            return False
        why = self._shop.why_absent(name)
        if why:
            say(f"  without {name}: {why}")
        return not why

    def _duels(self, duels: Sequence[Duel], rounds: int) -> None:
        names = dict.fromkeys(name for duel in duels for name in (duel.ours, duel.theirs))
        wanted = [name for name in names if self._wanted(name)]
        duels = [duel for duel in duels if duel.ours in wanted and duel.theirs in wanted]
        with ExitStack() as stack:
            started = {
                name: stack.enter_context(self._shop.start(name))
                for name in wanted
                if any(name in (duel.ours, duel.theirs) for duel in duels)
            }
            for number in range(rounds):
                say(f" round {number + 1} of {rounds}")
                for duel in duels:
                    self._duel(duel, started, number)

    def _duel(self, duel: Duel, started: Mapping[str, Contender], number: int) -> None:
        seconds = self._pace.offered if duel.load.rate else self._pace.seconds
        measures = {
            name: partial(turn, started[name], duel.load, seconds)
            for name in (duel.ours, duel.theirs)
        }
        take_turns(self._results, duel.load.label, measures, number)

    def _idle(self) -> None:
        """Memory and upgrades of fresh relays, in turns."""
        for number in range(self._pace.fresh):
            say(f" round {number + 1} of {self._pace.fresh}")
            for names in IDLE:
                measures = {
                    name: partial(
                        fresh, self._shop, name, self._pace.idle // (3 if "tls" in name else 1)
                    )
                    for name in names
                    if self._wanted(name)
                }
                take_turns(self._results, "idle", measures, number)

    def _scaling(self) -> None:
        """A relay that fills up: what each further connection weighs, and round trips beside."""
        with (
            self._shop.start("fastrelay") as crowded,
            self._shop.start("fastrelay") as empty,
        ):
            crowded.generator.run("connect", count=16)  # what is made once
            first, previous = {}, 0
            for step in self._pace.steps:
                found = crowded.generator.run("connect", count=step - previous)
                show("scaling", f"{previous:,} to {step:,}", found)
                self._results.add("scaling", f"{previous:,} to {step:,}", found)
                if previous == self._pace.steps[0]:
                    first = found
                previous = step
                self._beside(crowded, empty, step)
            self._results.add_pair("scaling", (LAST_STEP, found), (FIRST_STEP, first))

    def _beside(self, crowded: Contender, empty: Contender, count: int) -> None:
        """Round trips with and without so many idle connections beside, in turns."""
        crowd = WITH_IDLE if count == self._pace.steps[-2] else f"with {count:,} idle"
        for number in range(self._pace.rounds if crowd == WITH_IDLE else self._fewer):
            pair = {crowd: crowded, WITHOUT: empty}
            measures = {
                name: partial(turn, contender, SMALL, self._pace.seconds)
                for name, contender in pair.items()
            }
            take_turns(self._results, "scaling", measures, number)

    def _storm(self) -> None:
        """Traffic at a fixed rate, alone and while all phones come back at once."""
        with (
            self._shop.start("fastrelay") as relay,
            Generator(relay.relay) as crowd,
        ):
            crowd.run("connect", count=self._pace.storm)
            for number in range(self._fewer):
                say(f" round {number + 1} of {self._fewer}")
                calm = turn(relay, STORM_LOAD, self._pace.storm_seconds / 2)
                relay.generator.begin(
                    STORM_LOAD.shape,
                    **STORM_LOAD.arguments(),
                    seconds=self._pace.storm_seconds,
                )
                time.sleep(WARM_UP + 0.1)
                storm = crowd.run("storm")
                stormy = relay.generator.result()
                self._results.add_pair("storm", ("stormy", stormy), ("calm", calm))
                self._results.add("storm", "phones", storm)
                for name, found in (("calm", calm), ("stormy", stormy), ("phones", storm)):
                    show("storm", name, found)

    def _tail(self) -> None:
        """The 99.9th percentile with everything on, against less."""
        offered = self._pace.offered * 2
        measure_tail(self._shop, self._results, self._pace.tail, self._fewer + 2, offered)
