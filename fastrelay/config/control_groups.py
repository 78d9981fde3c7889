"""Reads the limits of this process's control groups, of versions 1 and 2 (cgroups(7))."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_MEMBERSHIP: Final = Path("proc/self/cgroup")
_ROOT: Final = Path("sys/fs/cgroup")


def limits(
    controller: str,
    version_1: Callable[[Path], float],
    version_2: Callable[[Path], float],
    root: Path = Path("/"),
) -> Iterator[float]:
    """The limits of one controller, for each group of this process and all groups above it.

    In a container the groups above are not visible, and the path may be that of the host.

    Args:
        version_1, version_2: read the limit from a group's directory. One that raises ``OSError``
            or ``ValueError`` is left out.
        root: where ``proc`` and ``sys`` are.
    """
    try:
        lines = (root / _MEMBERSHIP).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield from _of_groups(root / _ROOT, path, version_2)
        elif controller in controllers.split(","):
            yield from _of_groups(root / _ROOT / controller, path, version_1)


def _of_groups(top: Path, path: str, read: Callable[[Path], float]) -> Iterator[float]:
    group = Path(path.lstrip("/"))
    for part in (group, *group.parents):
        try:
            yield read(top / part)
        except (OSError, ValueError):
            continue
