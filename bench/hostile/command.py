"""``python -m bench hostile``: what honest peers get while others attack.

Beside each load, four honest pairs send 50 messages of 256 bytes a second each, and every 0.7 s
an honest client upgrades, each from an address of its own. Everything stays on loopback. Without
``--command`` and ``--url`` the relay is ours, with a rate limit so high that attackers get in; once
they are ended they come back only as the usual limit would let them.
"""

import argparse
import contextlib
import json
import os
import shlex
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bench.hostile.attackers import Strength
from bench.hostile.loads import LOADS, Load
from bench.hostile.process import raise_descriptors
from bench.hostile.report import markdown, table
from bench.hostile.run import measure_load
from bench.support.certificate import make_certificate
from bench.support.generator import Failed
from bench.support.machine import describe
from bench.support.relay import Relay, running

_OURS: Final = (
    f"{shlex.quote(sys.executable)} -m fastrelay --metrics-listen 127.0.0.1:{{metrics}}"
    " --upgrade-burst 1000000 --max-connections {connections}"
)
_PLAIN: Final = " --insecure-listen 127.0.0.1:{port}"
_TLS: Final = " --https-listen 127.0.0.1:{port} --tls-cert {cert} --tls-key {key}"
_RESERVE: Final = 1_200
"""Descriptors of a relay that are not for WebSockets."""

_HONEST: Final = 50
"""Connections of a relay that are left for honest peers."""

_REST: Final = 1.0
"""Seconds between two loads on a relay that goes on running."""


def main(arguments: Sequence[str]) -> int:
    """Measure the loads one after another; returns 1 if one could not be measured."""
    options = _parse(arguments)
    if options.list:
        for name, load in LOADS.items():
            print(f"{name:<15}{load.what}")
        return 0
    descriptors = raise_descriptors()
    rows = []
    for name, attackers in _turns(options):
        row = _row(name, attackers, options, descriptors)
        rows.append(row)
        sys.stderr.write(f"{table([row]).splitlines()[1]}\n")
    print((markdown if options.markdown else table)(rows))
    print(f"\n{_about(options, rows)}")
    if options.json:
        found = {"about": _about(options, rows), "tls": options.tls, "rows": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(any("failed" in row for row in rows))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench hostile", description=__doc__)
    parser.add_argument("loads", nargs="*", metavar="LOAD", help="default: all, see --list")
    parser.add_argument("--list", action="store_true", help="the loads, and what each one does")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--command",
        metavar="COMMAND",
        help="start this relay, anew for each load: with {port}, and where it uses them"
        " {metrics}, {cert} and {key}",
    )
    where.add_argument(
        "--url", help="a relay that runs: ws://127.0.0.1:PORT, or wss:// (then with --tls)"
    )
    parser.add_argument("--pid", type=int, default=0, help="of that relay, for CPU and memory")
    parser.add_argument("--tls", action="store_true", help="everybody speaks TLS")
    parser.add_argument(
        "--attackers",
        type=lambda text: [int(number) for number in text.split(",")],
        default=[16, 60],
        metavar="N[,N...]",
        help="of the loads without a number of their own; default: 16,60",
    )
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="of each load; default: %(default)g"
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="share of the numbers that loads have of their own; default: %(default)g",
    )
    parser.add_argument(
        "--redial",
        type=float,
        nargs=2,
        default=(20.0, 6.0),
        metavar=("BURST", "SECONDS"),
        help="upgrades that attackers the relay has ended may try at once, and the seconds until"
        " they may try one more; default: 20 6",
    )
    parser.add_argument("--markdown", action="store_true", help="the table for a page")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.loads if name not in LOADS]:
        parser.error(f"no load {', '.join(unknown)}: see --list")
    if options.url is not None:
        url = urllib.parse.urlsplit(options.url)
        if url.scheme not in {"ws", "wss"} or url.hostname != "127.0.0.1" or not url.port:
            parser.error("--url must be ws://127.0.0.1:PORT or wss://127.0.0.1:PORT")
        options.tls = url.scheme == "wss"
    return options


def _turns(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Loads with a number of attackers; 0 where a load has a number of its own."""
    for name in options.loads or LOADS:
        if LOADS[name].of_any_number:
            yield from ((name, attackers) for attackers in options.attackers)
        else:
            yield name, 0


def _row(
    name: str, attackers: int, options: argparse.Namespace, descriptors: int
) -> dict[str, Any]:
    """The figures of one load, or why there are none."""
    load = LOADS[name]
    label = f"{attackers} × {name}" if attackers else name
    row: dict[str, Any] = {"load": name, "attackers": attackers, "tls": options.tls}
    row["label"] = f"{label}, TLS" if options.tls else label
    strength = Strength(attackers, _fitting(load, options.scale, descriptors), *options.redial)
    began = time.monotonic()
    try:
        with _relay(options, descriptors) as relay:
            row |= measure_load(relay, options.tls, load, strength, options.seconds)
    except (Failed, RuntimeError) as failed:
        return row | {"failed": str(failed)}
    return row | {"took": round(time.monotonic() - began, 2)}


def _fitting(load: Load, scale: float, descriptors: int) -> float:
    """The scale, less where the relay could not have so many connections; that is said."""
    wanted, room = load.connections, max(1, descriptors - _RESERVE - _HONEST)
    if wanted * scale <= room:
        return scale
    sys.stderr.write(
        f"only {descriptors:,} files may be open, and only privileges could raise that"
        f" (ulimit -Hn): {room:,} connections instead of {wanted * scale:,.0f}\n"
    )
    return room / wanted


@contextlib.contextmanager
def _relay(options: argparse.Namespace, descriptors: int) -> Iterator[Relay]:
    """The relay of one load: a new one unless it was running before."""
    if options.url is not None:
        yield Relay(options.pid, urllib.parse.urlsplit(options.url).port or 0)
        time.sleep(_REST)
        return
    with tempfile.TemporaryDirectory(prefix="relay-hostile-") as name:
        directory = Path(name)
        command = options.command or _OURS + (_TLS if options.tls else _PLAIN)
        if "{cert}" in command or "{key}" in command:
            chain, key = make_certificate(directory)
            command = command.replace("{cert}", str(chain)).replace("{key}", str(key))
        most = max(100, min(16_000, descriptors - _RESERVE))
        with running(command.replace("{connections}", str(most)), directory / "log") as relay:
            yield relay if "{metrics}" in command else relay._replace(metrics_port=0)


def _about(options: argparse.Namespace, rows: Sequence[dict[str, Any]]) -> str:
    """What a reader must know to judge the figures."""
    averages = [row["load_average"] for row in rows if "load_average" in row]
    late = max((row["late_p99"] for row in rows if "late_p99" in row), default=0.0)
    spread = f"{min(averages):.1f}–{max(averages):.1f}" if averages else "–"
    return (
        f"{options.seconds:g} s a load, {'TLS' if options.tls else 'plain TCP'}; load average over"
        f" a minute {spread} on {os.cpu_count()} cores, attackers and honest peers included;"
        f" honest senders themselves late by up to {late * 1e3:.0f} ms (p99); {describe()}."
    )
