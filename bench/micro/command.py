"""``python -m bench micro``: the parts alone. More arguments go to pytest (``-k unwrap``, …)."""

from collections.abc import Sequence
from pathlib import Path

import pytest

_COLUMNS = "min,median,iqr,ops,rounds"


def main(arguments: Sequence[str]) -> int:
    """Run the micro-benchmarks; returns pytest's exit code."""
    return pytest.main(
        [
            *("-o", "addopts=", "-p", "no:cacheprovider", "-q"),
            *("--benchmark-only", "--benchmark-disable-gc", "--benchmark-warmup=on"),
            *("--benchmark-sort=name", "--benchmark-group-by=group"),
            "--benchmark-max-time=0.3",
            f"--benchmark-columns={_COLUMNS}",
            str(Path(__file__).parent),
            *arguments,
        ]
    )
