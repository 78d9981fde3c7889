"""The shipped dashboard: every expression returns data, by a real Prometheus of a real relay."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from fastrelay.config.settings import Push
from tests.support.certificates import local_certificate
from tests.support.google import account
from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import client_frame
from tests.support.prometheus import prometheus

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana-dashboard.json"
PANELS: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
ANNOTATIONS = json.loads(DASHBOARD.read_text())["annotations"]["list"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_panels_explain_themselves_and_do_not_overlap() -> None:
    places = set()
    for panel in PANELS:
        assert len(panel["description"]) > 10, panel["title"]
        for target in panel["targets"]:
            assert 'instance=~"$instance"' in target["expr"]
            assert "{{instance}}" in target["legendFormat"]
        places.add((panel["gridPos"]["x"], panel["gridPos"]["y"]))
    assert len(places) == len(PANELS)
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_all_families_of_ours_are_on_it() -> None:
    text = (DASHBOARD.parent / "operations.md").read_text()
    rows = "\n".join(re.findall(r"^\| `pyrycode_relay_.*", text, re.MULTILINE))
    documented = set(re.findall(r"`(pyrycode_relay_\w+)`", rows))
    shown = set(re.findall(r"pyrycode_relay_\w+", " ".join(EXPRESSIONS)))
    shown = {name.removesuffix("_bucket") for name in shown}
    assert documented >= shown
    assert documented <= shown


def push() -> Push:
    """Push that is on: its family is there only then."""
    return Push(account=account(), endpoint="https://localhost:1", token_url="https://localhost:1")


async def traffic(relay: RunningRelay, enough: asyncio.Event) -> None:
    """Connections that come, frames both ways by the hundred, connections that go."""
    while not enough.is_set():
        binary, phone = await relay.binary(), await relay.phone()
        phone.send(client_frame(b'"hello"') * 300)
        envelope = await binary.text()
        binary.send(client_frame(envelope) * 300)
        assert await phone.text() == b'"hello"'
        await phone.close()
        await binary.close()
        await asyncio.sleep(0.1)


async def test_every_expression_returns_numbers_of_every_relay(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        secure = {"tls": local_certificate(), "push": push()}
        relays = [await stack.enter_async_context(running_relay(**secure)) for _ in range(2)]
        ports = [relay.metrics_port for relay in relays]
        server = await stack.enter_async_context(prometheus(tmp_path, *ports))
        enough = asyncio.Event()
        busy = [asyncio.create_task(traffic(relay, enough)) for relay in relays]
        try:
            for expression in EXPRESSIONS:
                asked = expression.replace("$__rate_interval", "10s").replace("$instance", ".*")
                # What is no number is not equal to itself.
                numbers = f"count by (instance) (({asked}) == ({asked}))"
                async with asyncio.timeout(40):
                    while len(await server.until(numbers)) < len(relays):
                        await asyncio.sleep(0.05)
                one = asked.replace('instance=~".*"', f'instance=~"127.0.0.1:{ports[0]}"')
                seen = {entry["metric"]["instance"] for entry in await server.query(one)}
                assert seen == {f"127.0.0.1:{ports[0]}"}, expression
            for annotation in ANNOTATIONS:
                # Right for Prometheus, and of a family that is there; nothing has restarted.
                asked = annotation["target"]["expr"].replace("$instance", ".*")
                assert await server.query(asked) == []
                assert await server.until(asked.removesuffix(" > 0"))
        finally:
            enough.set()
            await asyncio.gather(*busy)
