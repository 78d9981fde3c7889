"""What a process costs, read from ``/proc``: any process, ours or not, with its children."""

from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class Cost(NamedTuple):
    """What a process has used so far.

    Attributes:
        cpu: seconds on a processor, in user mode and in the kernel on its behalf.
        resident: bytes of resident memory.
        descriptors: open files.
    """

    cpu: float
    resident: int
    descriptors: int


def measure(pid: int) -> Cost:
    """The cost of ``pid`` and its children.

    CPU comes from ``schedstat``, which counts the same time as ``utime + stime`` in nanoseconds
    where ``stat`` counts it in ticks of 10 ms.

    Raises:
        FileNotFoundError: there is no such process.
    """
    cpu = resident = descriptors = 0
    for member in _family(pid):
        base = _PROC / str(member)
        cpu += sum(int(file.read_text().split()[0]) for file in base.glob("task/*/schedstat"))
        resident += int((base / "statm").read_text().split()[1]) * 4096
        descriptors += len(list((base / "fd").iterdir()))
    return Cost(cpu / 1e9, resident, descriptors)


def _family(pid: int) -> list[int]:
    members = [pid]
    for member in members:
        for file in (_PROC / str(member)).glob("task/*/children"):
            members += map(int, file.read_text().split())
    return members
