"""What is compared between two checkouts, and how: always in turns, always in pairs."""

import math
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bench.compare.contenders import Contender, Workshop, importing_from
from bench.compare.instructions import available, count_instructions
from bench.compare.plan import FOUR, Load
from bench.compare.results import Results
from bench.compare.turns import fill, say, take_turns

THIS, BASE = "this", "base"
PLAIN, TLS = "fastrelay", "fastrelay tls"
FLOOD: Final = Load(4, 1, 500, shape="up")
"""Phones that send messages of one byte as fast as they can."""

_FIRST, _WARM_UP = 0.1, 0.01
"""Seconds before the first turn of a connection, and before each turn."""

_REOPEN: Final = 12.0
"""Seconds after which connections are replaced: the relay pings after 30, and no ping must come."""

_UPGRADES, _UPGRADE_PAIRS = 300, 24
_IDLE: Final = {PLAIN: 4000, TLS: 800}
"""So many that the pages which a process has left from its start do not matter."""


class Checkouts:
    """The relays of this checkout and of another.

    Args:
        base: the directory of the other checkout.

    Raises:
        SystemExit: there is no fastrelay in ``base``.
    """

    def __init__(self, shop: Workshop, base: Path) -> None:
        self.shop = shop
        self._directories = {THIS: Path(__file__).parents[2], BASE: base.resolve()}
        for which, directory in self._directories.items():
            command = f"{self.environment(which)} {shlex.quote(sys.executable)} -c"
            look = (*shlex.split(command), "import fastrelay; print(fastrelay.__file__)")
            found = subprocess.run(look, capture_output=True, text=True, check=False).stdout.strip()
            if not Path(found).is_relative_to(directory):
                raise SystemExit(f"there is no package fastrelay in {directory}")

    def environment(self, which: str) -> str:
        """What stands before a command so that it imports fastrelay from that checkout."""
        return importing_from(self._directories[which])

    def directory(self, which: str) -> Path:
        """Where that checkout is."""
        return self._directories[which]

    @contextmanager
    def both(self, name: str) -> Iterator[dict[str, Contender]]:
        """Both relays, running, as the contender ``name``."""
        with ExitStack() as stack:
            yield {
                which: stack.enter_context(self.start(which, name)) for which in self._directories
            }

    @contextmanager
    def start(self, which: str, name: str) -> Iterator[Contender]:
        """One of the two relays, running."""
        with self.shop.start(name, before=self.environment(which)) as contender:
            yield contender


class Comparison:
    """Measures both checkouts; every figure goes into ``results``.

    Args:
        pairs: how many pairs of turns each ratio comes from.
        seconds: of a turn.
        processes: how many of each checkout's relay the pairs are spread over. Where the memory of
            a process happens to lie changes its speed by some percent.
    """

    def __init__(
        self, checkouts: Checkouts, results: Results, pairs: int, seconds: float, processes: int
    ) -> None:
        self._checkouts = checkouts
        self._results = results
        self._pairs = pairs
        self._seconds = seconds
        self._processes = processes

    def instructions(self, name: str) -> None:
        """Instructions a round trip under the four loads."""
        if not available():
            say("to count instructions: apt-get install valgrind")
            return
        found = {}
        for which in (THIS, BASE):
            directory = self._checkouts.directory(which)
            found[which] = count_instructions(self._checkouts.shop, name, FOUR, directory)
        for load in FOUR:
            counts = {
                which: partial(dict, instructions=found[which][load.label]) for which in found
            }
            take_turns(self._results, f"{name}, {load.label}", counts, 0)

    def loads(self, name: str) -> None:
        """CPU a round trip under the four loads."""
        for number, both in self._restarted(name):
            for load in FOUR:
                self._traffic(f"{name}, {load.label}", both, load, number)

    def flood(self) -> None:
        """CPU a message of one byte, over TLS against plain, of each checkout."""
        for number in range(self._processes):
            for which in (THIS, BASE):
                with ExitStack() as stack:
                    kinds = {
                        name: stack.enter_context(self._checkouts.start(which, name))
                        for name in (TLS, PLAIN)
                    }
                    self._traffic(f"flood, {which}", kinds, FLOOD, number)

    def upgrades(self, name: str) -> None:
        """CPU an upgrade, in waves; connections of a turn are dropped before the next turn."""

        def measure(contender: Contender) -> dict[str, float]:
            found = contender.generator.run("connect", count=_UPGRADES)
            contender.generator.run("drop")
            return {"cpu_upgrade": found["cpu_upgrade"]}

        for number, both in self._restarted(name):
            measures = {which: partial(measure, contender) for which, contender in both.items()}
            for pair in range(self._of_restart(_UPGRADE_PAIRS)):
                take_turns(self._results, f"{name}, upgrades", measures, number + pair)

    def idle(self, name: str) -> None:
        """Bytes of an idle connection: of relays started anew for each turn."""

        def measure(which: str) -> dict[str, float]:
            with self._checkouts.start(which, name) as contender:
                return {"memory": fill(contender, _IDLE[name], _IDLE[name] // 2)["memory"]}

        measures = {which: partial(measure, which) for which in (THIS, BASE)}
        for number in range(self._processes):
            take_turns(self._results, f"{name}, idle", measures, number)

    def _restarted(self, name: str) -> Iterator[tuple[int, dict[str, Contender]]]:
        """Several processes of each checkout's relay, one after another."""
        for number in range(self._processes):
            say(f" processes {number + 1} of {self._processes}")
            with self._checkouts.both(name) as both:
                yield number, both

    def _of_restart(self, pairs: int) -> int:
        return -(-pairs // self._processes)

    def _traffic(self, label: str, two: Mapping[str, Contender], load: Load, number: int) -> None:
        """Short turns on connections that stay open, so that the other load of the machine, which
        changes within a second, is nearly the same in both turns of a pair."""

        def measure(contender: Contender) -> dict[str, float]:
            # What is on its way at the start and at the end must be a small part of a turn.
            fewest = 4 * load.window
            return contender.generator.run(
                "turn", seconds=self._seconds, warm_up=_WARM_UP, fewest=fewest
            )

        measures = {name: partial(measure, contender) for name, contender in two.items()}
        opened = -math.inf
        for pair in range(self._of_restart(self._pairs)):
            if time.monotonic() - opened > _REOPEN:
                opened = time.monotonic()
                for contender in two.values():
                    contender.generator.run("open", shape=load.shape, **load.arguments())
                    contender.generator.run("turn", seconds=_FIRST)
            take_turns(self._results, label, measures, number + pair)
        for contender in two.values():
            contender.generator.run("close")
