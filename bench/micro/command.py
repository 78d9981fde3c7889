"""``python -m bench micro``: the parts alone, by pytest-benchmark."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.support.arguments import Arguments
from bench.support.machine import describe

_COLUMNS = "min,median,iqr,ops,rounds"


def main(arguments: Sequence[str]) -> int:
    """Run the micro-benchmarks; returns pytest's exit code."""
    parser = Arguments(
        "micro",
        __doc__,
        "Other options go to pytest, such as --collect-only or --benchmark-json FILE.",
    )
    parser.option("-k", "", "only those with this word in their name", metavar="WORD")
    parser.option("--seconds", 0.3, "length of each at most")
    options, more = parser.parse_known_args(arguments)
    code = pytest.main(
        [
            *("-o", "addopts=", "-p", "no:cacheprovider", "-q", "-k", options.k),
            *("--benchmark-only", "--benchmark-disable-gc", "--benchmark-warmup=on"),
            *("--benchmark-sort=name", "--benchmark-group-by=group"),
            f"--benchmark-max-time={options.seconds}",
            f"--benchmark-columns={_COLUMNS}",
            str(Path(__file__).parent),
            *more,
        ]
    )
    print(describe())
    return code
