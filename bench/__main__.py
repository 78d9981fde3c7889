"""``python -m bench NAME …`` runs a benchmark; without a name it lists them."""

import importlib
import sys
from typing import Final

COMMANDS: Final = {
    "compare": ("bench.compare.command", "every target beside what is measured, ours and others"),
    "micro": (
        "bench.micro.command",
        "the parts alone: codec, envelope, upgrade, counters, registry",
    ),
    "soak": (
        "bench.soak.command",
        "honest and hostile peers for minutes; nothing may be lost or grow",
    ),
}
"""Name to module, whose ``main(arguments)`` returns the exit code, and what it is."""


def main() -> int:
    """Run what the command line names; returns the exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        code: int = importlib.import_module(COMMANDS[name][0]).main(sys.argv[2:])
        return code
    out = sys.stdout if name in {"-h", "--help"} else sys.stderr
    out.write("python -m bench NAME [--help | options]\n\n")
    for known, (_, what) in COMMANDS.items():
        out.write(f"  {known:<10}{what}\n")
    return 0 if out is sys.stdout else 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
