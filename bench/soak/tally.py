"""What happened during a soak, as far as the peers can tell."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of one run.

    Attributes:
        checked: frames of honest peers that arrived and were compared byte for byte.
        wrong: that were not what was due; each has a line in ``faults``.
        answered: upgrade attempts by the status read, ``unanswered``: given up before.
        injected: hostile acts by name.
    """

    checked: int = 0
    wrong: int = 0
    lost: int = 0
    unanswered: int = 0
    answered: Counter[int] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, what: str) -> None:
        """An honest peer did not get what is due to it."""
        self.wrong += 1
        if len(self.faults) < 20:
            self.faults.append(what)
