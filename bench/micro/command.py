"""``python -m bench micro``: the parts alone, by pytest-benchmark."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.support.machine import describe

_COLUMNS = "min,median,iqr,ops,rounds"


def main(arguments: Sequence[str]) -> int:
    """Run the micro-benchmarks; returns pytest's exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench micro",
        description=__doc__,
        epilog="Other options go to pytest, such as --collect-only or --benchmark-json FILE.",
    )
    parser.add_argument("-k", default="", metavar="WORD", help="only what has it in its name")
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="of each at most; default: %(default)g"
    )
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
