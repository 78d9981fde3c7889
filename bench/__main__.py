"""``python -m bench NAME …`` runs a benchmark; without a name it lists them."""

import importlib
import importlib.util
import signal
import sys
from typing import Final, TextIO

from bench.support.generator import Failed

COMMANDS: Final = {
    "compare": ("bench.compare.command", "every target beside what is measured, ours and others"),
    "unchanged": (
        "bench.unchanged.command",
        "whether a change left the cost as it was: this checkout beside another",
    ),
    "load": ("bench.load.command", "one load on one relay, ours, a peer's, or any by command"),
    "workers": (
        "bench.workers.command",
        "one process beside a supervisor and two workers: CPU as sums, evenness, memory",
    ),
    "tail": (
        "bench.compare.tail",
        "p99.9 with 10,000 connections, log and scrape, and without",
    ),
    "profile": (
        "bench.profile.command",
        "where bytes of a connection, and CPU of upgrades and frames, go",
    ),
    "dashboard": (
        "bench.dashboard.command",
        "a picture of the dashboard's panels: two relays under load, a real Prometheus",
    ),
    "top": (
        "bench.top.command",
        "a picture of fastrelay top: a relay with two workers under load",
    ),
    "micro": (
        "bench.micro.command",
        "the parts alone: codec, envelope, upgrade, counters, registry",
    ),
    "experiments": (
        "bench.experiments.command",
        "what justified each optimisation, and what did not help",
    ),
    "hostile": (
        "bench.hostile.command",
        "what honest peers get while others attack: the hostile loads, plain and TLS",
    ),
    "lines": (
        "bench.lines.command",
        "peers on slow lines: what survives, a small frame beside bulk, throughput",
    ),
    "soak": (
        "bench.soak.command",
        "honest and hostile peers for minutes; nothing may be lost or grow",
    ),
}
"""Name to module, whose ``main(arguments)`` returns the exit code, and what it is."""


NEEDED: Final = {
    "compare": ("aiohttp", "picows"),
    "dashboard": ("matplotlib",),
    "micro": ("pytest", "pytest_benchmark"),
}
"""Packages of the extra ``bench`` that a command cannot do without."""


def main() -> int:
    """Run what the command line names; returns the exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        return _list_commands(sys.stdout if name in {"-h", "--help"} else sys.stderr)
    missing = [one for one in NEEDED.get(name, ()) if importlib.util.find_spec(one) is None]
    if missing:
        install = "in a checkout of fastrelay: pip install '.[bench]'"
        sys.stderr.write(f"bench {name} needs {' and '.join(missing)}; {install}\n")
        return 2
    # On SIGTERM contexts are left as well: relays have process groups of their own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        code: int = importlib.import_module(COMMANDS[name][0]).main(sys.argv[2:])
    except Failed as failed:
        sys.stderr.write(f"not right: {failed}\n")
        return 1
    return code


def _list_commands(out: TextIO) -> int:
    out.write("python -m bench NAME [--help | options]\n\n")
    for known, (_, what) in COMMANDS.items():
        out.write(f"  {known:<13}{what}\n")
    return 0 if out is sys.stdout else 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
