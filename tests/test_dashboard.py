"""The shipped dashboard: every expression returns data, by a real Prometheus of a real relay."""

import json
import re
from pathlib import Path
from typing import Any

from tests.support.certificates import local_certificate
from tests.support.harness import running_relay
from tests.support.prometheus import prometheus

DASHBOARD = Path(__file__).parents[1] / "docs" / "grafana-dashboard.json"
PANELS: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_panels_explain_themselves_and_do_not_overlap() -> None:
    places = set()
    for panel in PANELS:
        assert len(panel["description"]) > 10, panel["title"]
        places.add((panel["gridPos"]["x"], panel["gridPos"]["y"]))
    assert len(places) == len(PANELS)
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_all_families_of_ours_are_on_it() -> None:
    text = (DASHBOARD.parent / "operations.md").read_text()
    documented = set(re.findall(r"^\| `(pyrycode_relay_\w+)`", text, re.MULTILINE))
    shown = set(re.findall(r"pyrycode_relay_\w+", " ".join(EXPRESSIONS)))
    shown = {name.removesuffix("_bucket") for name in shown}
    # Received is forwarded plus dropped; wakes are there only while push is on.
    left_out = {"pyrycode_relay_frames_received_total", "pyrycode_relay_push_wakes_total"}
    assert documented - left_out <= shown


async def test_every_expression_returns_data(tmp_path: Path) -> None:
    async with running_relay(tls=local_certificate()) as relay:
        async with prometheus(tmp_path, relay.metrics_port) as server:
            binary, phone = await relay.binary(), await relay.phone()
            await server.until("count_over_time(pyrycode_relay_build_info[10s]) > 2")
            phone.send_text('"hello"')
            await binary.json()
            for expression in EXPRESSIONS:
                asked = expression.replace("$__rate_interval", "10s").replace("$instance", ".*")
                assert await server.until(asked), expression
