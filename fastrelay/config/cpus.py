"""How many CPUs this process may use."""

import os
from pathlib import Path

from fastrelay.config.control_groups import limits


def usable_cpus(root: Path = Path("/")) -> int:
    """The CPUs that affinity and control groups allow, rounded down; at least 1.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    quotas = limits("cpu", _version_1, _version_2, root)
    return max(1, int(min([len(os.sched_getaffinity(0)), *quotas])))


def _version_1(group: Path) -> float:
    return _share(
        (group / "cpu.cfs_quota_us").read_text(), (group / "cpu.cfs_period_us").read_text()
    )


def _version_2(group: Path) -> float:
    return _share(*(group / "cpu.max").read_text().split())


def _share(quota: str, period: str) -> float:
    """The CPUs that a quota of each period is.

    Raises:
        ValueError: there is none: version 1 writes -1, version 2 "max".
    """
    if int(quota) <= 0 or int(period) <= 0:
        raise ValueError
    return int(quota) / int(period)
