"""Decides which workers are silent, which one is killed, and when a dead one is started again."""

from collections.abc import Mapping
from typing import Final, NamedTuple

_GAP: Final = 1.0
"""If :meth:`Watch.look` was not called for this number of seconds, it draws no conclusion from
silence: the whole machine, or all processes of the relay, may have been stopped."""

_RECENT: Final = 60.0
"""Seconds for which a death counts."""

MOST_EARLY_DEATHS: Final = 5
"""Deaths of workers that were not ready yet, within a minute, after which the relay gives up."""


class Verdict(NamedTuple):
    """The result of one look at all workers.

    Attributes:
        silent: workers that have shown no sign of life for some time; others accept in their place.
        kill: the worker to kill; ``None``: none.
        is_well: at most half of the workers are overdue.
    """

    silent: frozenset[int]
    kill: int | None
    is_well: bool


class Watch:
    """Decides by the time of each worker's last sign of life.

    Args:
        silent: seconds until a worker counts as silent.
        hung: seconds until it is overdue, and killed. One worker is killed at a time. None is
            killed while more than half of them are overdue, because then the machine is slow, and
            killing would make it worse.
    """

    def __init__(self, silent: float, hung: float) -> None:
        self._silent = silent
        self._hung = hung
        self._last_look: float | None = None
        self._since = 0.0

    def look(self, now: float, heard: Mapping[int, float], *, others_are_back: bool) -> Verdict:
        """Look at all workers that should be running.

        Args:
            heard: the time of each worker's last sign of life, on the clock of ``now``.
            others_are_back: whether no worker is being started again.
        """
        if self._last_look is None or now - self._last_look > _GAP:
            self._since = now
        self._last_look = now
        silence = {index: now - max(at, self._since) for index, at in heard.items()}
        overdue = [index for index in silence if silence[index] > self._hung]
        is_well = len(overdue) * 2 <= len(silence)
        kill = None
        if overdue and is_well and others_are_back:
            kill = max(overdue, key=silence.__getitem__)
        silent = frozenset(index for index in silence if silence[index] > self._silent)
        return Verdict(silent, kill, is_well)


class Restarts:
    """When a worker that has died is started again; a new one for each worker.

    After the first death within a minute there is no wait. The wait doubles with each further one.

    Args:
        first, most: seconds of the second wait, and of the longest.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._wait = 0.0
        self._died_at: float | None = None

    def delay(self, now: float) -> float:
        """The worker has died: returns the seconds until it may be started again."""
        if self._died_at is None or now - self._died_at > _RECENT:
            self._wait = 0.0
        else:
            self._wait = min(self._most, max(self._first, self._wait * 2))
        self._died_at = now
        return self._wait


class EarlyDeaths:
    """Deaths of workers that were not ready, of all workers together."""

    def __init__(self) -> None:
        self._at: list[float] = []

    def are_too_many(self, now: float) -> bool:
        """One more has died; returns whether the relay should give up."""
        self._at = [at for at in self._at if now - at < _RECENT] + [now]
        return len(self._at) >= MOST_EARLY_DEATHS
