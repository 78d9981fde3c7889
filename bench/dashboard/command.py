"""``python -m bench dashboard``: every panel of docs/grafana-dashboard.json, drawn from a real run.

Two relays under load are scraped by a real Prometheus (Debian's package), which then evaluates each
expression of the dashboard over the whole run. One relay is plain and under attack for a while; the
other has TLS and honest phones. Exit code 1 if an expression returned nothing.
"""

import asyncio
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.dashboard.scene import at_peace, under_attack
from bench.dashboard.series import Line
from bench.support.arguments import Arguments
from bench.support.certificate import make_certificate
from bench.support.prometheus import Prometheus, prometheus
from bench.support.relay import OURS, Relay, running

DOCS = Path(__file__).parents[2] / "docs"
_WITH_PUSH = "pyrycode_relay_push_wakes_total"
"""A family that there is only while push is on, which it is not here."""

_RATE_INTERVAL = "5s"
"""What Grafana makes of ``$__rate_interval`` with a scrape a second: four scrapes, and one more."""


def main(arguments: Sequence[str]) -> int:
    """Run the scene and draw it; returns the exit code."""
    parser = Arguments("dashboard", __doc__)
    parser.option("--seconds", 75.0, "length of the run")
    parser.file("--output", "the picture; default: that of the docs")
    options = parser.parse_args(arguments)
    output = options.output or DOCS / "images" / "dashboard.png"
    if shutil.which("prometheus") is None:
        sys.stderr.write("prometheus is not installed: apt-get install prometheus\n")
        return 2
    from bench.dashboard.draw import draw  # with matplotlib, which --help does without

    panels = json.loads((DOCS / "grafana-dashboard.json").read_text())["panels"]
    with tempfile.TemporaryDirectory(prefix="dashboard-") as directory:
        lines = _lines(Path(directory), panels, options.seconds)
    draw(panels, lines, output)
    empty = [
        panel["title"]
        for panel in panels
        if not lines[panel["id"]] and _WITH_PUSH not in panel["targets"][0]["expr"]
    ]
    for title in empty:
        print(f"nothing for: {title}")
    print(f"{len(panels)} panels, {sum(map(len, lines.values()))} series: {output}")
    return 1 if empty else 0


def _lines(directory: Path, panels: list[dict[str, Any]], seconds: float) -> dict[int, list[Line]]:
    certificate, key = make_certificate(directory)
    secure = OURS.replace("--insecure-listen", "--https-listen")
    with (
        running(f"{OURS} --grace 3") as plain,
        running(f"{secure} --tls-cert {certificate} --tls-key {key}") as tls,
    ):
        return asyncio.run(_watched(directory, panels, seconds, plain, tls, certificate))


async def _watched(
    directory: Path,
    panels: list[dict[str, Any]],
    seconds: float,
    plain: Relay,
    tls: Relay,
    certificate: Path,
) -> dict[int, list[Line]]:
    targets = {"relay-1": plain.metrics_port, "relay-2": tls.metrics_port}
    async with prometheus(directory, targets, interval="1s") as server:
        await server.until("count(pyrycode_relay_build_info) == 2")
        start = time.time()
        await asyncio.gather(
            under_attack(plain.port, seconds), at_peace(tls.port, certificate, seconds)
        )
        return {panel["id"]: await _series(server, panel, start) for panel in panels}


async def _series(server: Prometheus, panel: dict[str, Any], start: float) -> list[Line]:
    lines: list[Line] = []
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", _RATE_INTERVAL)
        asked = expression.replace("$instance", ".*")
        for found in await server.query_range(asked, start, time.time(), 1.0):
            pairs = [(float(moment) - start, float(value)) for moment, value in found["values"]]
            numbers = [(moment, value) for moment, value in pairs if value == value]
            if numbers:
                times, values = (list(column) for column in zip(*numbers, strict=True))
                lines.append((named(target["legendFormat"], found["metric"]), times, values))
    return lines


def named(legend: str, labels: dict[str, str]) -> str:
    """A series' name by the panel's ``legendFormat``."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)
