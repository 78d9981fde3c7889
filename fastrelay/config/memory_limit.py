"""How much memory this process may use, if a control group limits it."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from fastrelay.config.control_groups import limits

_NO_LIMIT: Final = 2**60
"""Version 1 writes "no limit" as a number near 2**63."""


def memory_limit(root: Path = Path("/")) -> int | None:
    """The bytes that the control groups of this process allow; ``None`` if there is no limit.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    found = limits("memory", _read("memory.limit_in_bytes"), _read("memory.max"), root)
    return min([int(limit) for limit in found if 0 < limit < _NO_LIMIT], default=None)


def _read(name: str) -> Callable[[Path], float]:
    return lambda group: int((group / name).read_text())  # "max" is no number
