"""What a process costs, read from ``/proc``: any process, ours or not, with its children."""

import os
from pathlib import Path
from typing import NamedTuple

_PROC, _PAGE = Path("/proc"), os.sysconf("SC_PAGE_SIZE")


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
    """The cost of ``pid`` and its children. Takes long where many files are open.

    Raises:
        FileNotFoundError: there is no such process.
    """
    descriptors = sum(len(os.listdir(_PROC / str(member) / "fd")) for member in _family(pid))
    return Cost(measure_cpu(pid), measure_resident(pid), descriptors)


def measure_resident(pid: int) -> int:
    """The bytes of resident memory of ``pid`` and its children, however many files are open.

    Raises:
        FileNotFoundError: there is no such process.
    """
    files = [_PROC / str(member) / "statm" for member in _family(pid)]
    return sum(int(file.read_text().split()[1]) for file in files) * _PAGE


def measure_cpu(pid: int) -> float:
    """The CPU seconds of ``pid`` and its children; takes a fraction of a millisecond.

    They come from ``schedstat``, which counts the same time as ``utime + stime`` in nanoseconds
    where ``stat`` counts it in ticks of 10 ms.

    Raises:
        FileNotFoundError: there is no such process.
    """
    return _schedstat(pid, 0)


def measure_wait(pid: int) -> float:
    """The seconds that ``pid`` and its children were ready to run and had no processor.

    Raises:
        FileNotFoundError: there is no such process.
    """
    return _schedstat(pid, 1)


def _schedstat(pid: int, field: int) -> float:
    files = [file for one in _family(pid) for file in (_PROC / str(one)).glob("task/*/schedstat")]
    if not files:
        raise FileNotFoundError(f"no process {pid}")
    return sum(int(file.read_text().split()[field]) for file in files) / 1e9


def _family(pid: int) -> list[int]:
    members = [pid]
    for member in members:
        for file in (_PROC / str(member)).glob("task/*/children"):
            members += map(int, file.read_text().split())
    return members
