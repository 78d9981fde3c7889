"""How much memory this process may use, where a control group says so."""

from pathlib import Path
from typing import Final

_MEMBERSHIP: Final = Path("proc/self/cgroup")
_ROOT: Final = Path("sys/fs/cgroup")
_NO_LIMIT: Final = 2**60
"""Version 1 writes "no limit" as a number near 2**63."""


def memory_limit(root: Path = Path("/")) -> int | None:
    """The bytes that the control groups of this process allow it; ``None`` if they do not say.

    Versions 1 and 2 are read, and every group up to the root: the least of them counts. In a
    container the groups above are not seen, and the path may be that of the host.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    try:
        lines = (root / _MEMBERSHIP).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found: list[int] = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            found += _limits(root / _ROOT, path, "memory.max")
        elif "memory" in controllers.split(","):
            found += _limits(root / _ROOT / "memory", path, "memory.limit_in_bytes")
    return min(found, default=None)


def _limits(top: Path, path: str, name: str) -> list[int]:
    """The limits of a group and of all above it; what cannot be read is left out."""
    group = Path(path.lstrip("/"))
    found = []
    for part in (group, *group.parents):
        try:
            limit = int((top / part / name).read_text())
        except (OSError, ValueError):  # "max" is no number
            continue
        if 0 < limit < _NO_LIMIT:
            found.append(limit)
    return found
