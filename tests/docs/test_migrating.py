"""The page for who comes from the Go relay, and its table of facts, against a running relay."""

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fastrelay.config.flags import FLAGS
from tests.docs.test_log_events import logged, rows
from tests.support.google import google
from tests.support.harness import RunningRelay, running_relay
from tests.support.pushing import wake

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "migrating.md").read_text()
TABLE: dict[str, Any] = tomllib.loads((HERE / "go_relay.toml").read_text())
SERIES = {
    (name, tuple(sorted(zip(labels, values, strict=True))))
    for name, family in TABLE["metrics"].items()
    for labels in [[label for label in family if label != "type"]]
    for values in itertools.product(*(family[label] for label in labels))
}


async def test_every_series_is_there_from_the_first_scrape_with_its_type() -> None:
    async with google() as fake, running_relay(push=fake.push()) as relay:
        samples = relay.samples()
        assert samples.keys() >= SERIES
        families = set(TABLE["metrics"])
        shown = {key for key in samples if key[0] in families}
        assert shown == SERIES
        types = {
            f"{metric.name}_total" if metric.type == "counter" else metric.name: metric.type
            for metric in relay.registry.collect()
        }
        assert {name: types[name] for name in families} == {
            name: family["type"] for name, family in TABLE["metrics"].items()
        }
        assert not [name for name, _ in samples if name in TABLE["absent_metrics"]]


def test_every_event_has_its_level_and_is_in_the_source() -> None:
    levels = rows()
    assert {event: levels.get(event) for event in TABLE["events"]} == {
        event: level for event, (level, *_) in TABLE["events"].items()
    }
    assert set(TABLE["events"]) <= set(logged())


def keys_of(line: str) -> set[str]:
    return set(re.findall(r" (\w+)=", line))


async def test_the_lines_of_a_running_relay_have_its_levels_and_keys() -> None:
    expected = {
        *("server_claimed", "server_released", "phone_registered", "phone_register_no_server"),
        *("phone_register_at_cap", "phone_unregistered", "phone_forwarder_read_end"),
        *("phone_forwarder_marshal_err", "phone_forwarder_no_binary", "binary_forwarder_read_end"),
        *("binary_forwarder_unmarshal_err", "binary_forwarder_unknown_conn_id"),
        *("binary_forwarder_push_wake_dropped", "binary_forwarder_phone_closed"),
    }
    async with running_relay(limits={"phones": 1}) as relay:
        await visit(relay)
        for event in expected:
            level, *keys = TABLE["events"][event]
            await relay.until(lambda event=event: relay.log_of(event))
            for line in relay.log_of(event):
                assert f" level={level} " in line
                assert keys_of(line) >= {*keys}, line


async def visit(relay: RunningRelay) -> None:
    """Bring about what can happen between one binary and its phones."""
    assert (await (await relay.phone()).closed())[0] == 4404
    binary, phone = await relay.binary(), await relay.phone()
    assert (await (await relay.phone()).closed())[0] == 4429
    phone.send_text("1")
    conn_id = (await binary.json())["conn_id"]
    binary.send_text("nonsense")
    binary.send_json({"conn_id": "nobody", "frame": 1})
    wake(binary)
    binary.send_json({"conn_id": conn_id, "close_code": 4401})
    assert (await phone.closed())[0] == 4401
    await relay.until(lambda: relay.log_of("phone_unregistered"))
    phone = await relay.phone()
    phone.send_text("{")
    assert (await phone.closed())[0] == 1007
    await relay.until(lambda: len(relay.log_of("phone_unregistered")) == 2)
    phone = await relay.phone()
    await binary.close()
    await relay.until(lambda: relay.log_of("server_released"))
    phone.send_text("1")
    assert (await phone.closed())[0] == 1000


@pytest.mark.parametrize("flag", TABLE["flags"])
def test_every_flag_is_there_and_on_the_page(flag: str) -> None:
    ours = {*FLAGS, "--version"}
    assert f"--{flag}" in ours
    assert f"`--{flag}`" in PAGE


def test_the_page_has_every_variable_and_family() -> None:
    for name in (*TABLE["variables"], *TABLE["metrics"], *TABLE["absent_metrics"]):
        assert f"`{name}`" in PAGE, name
