"""``fastrelay probe URL``."""

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Check the relay at the URL in ``arguments``; returns the exit code."""
    raise SystemExit(3)
