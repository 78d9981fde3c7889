"""``fastrelay`` and ``python -m fastrelay``: does what must be first, then runs the command."""

import os
import sys

from fastrelay.process.early import (
    expect_signals,
    forbid_core_dumps,
    forget_misleading,
    runs_a_relay,
)


def main() -> int:
    """Run the command line of this process; returns its exit code."""
    forget_misleading(os.environ)
    if runs_a_relay(sys.argv[1:]):
        expect_signals()
        forbid_core_dumps()
    # Imported only now: it takes long, and libraries look at the environment meanwhile.
    from fastrelay.cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
