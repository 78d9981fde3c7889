"""The two upgrade families: every terminal, over real sockets, and exactly what a scrape shows."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fastrelay.config.settings import Address, Limits, Settings
from fastrelay.log import Log
from fastrelay.metrics import make_metrics
from fastrelay.metrics.exposition import render
from fastrelay.net.bound_sockets import bind_all
from fastrelay.server.relay import Relay
from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import PONG, client_frame, open_http, open_peer, request, upgrade_headers
from tests.support.prometheus import prometheus

ENDPOINTS = ("server", "client")
OUTCOMES = (
    "accept",
    "reject_headers",
    "reject_409",
    "reject_404",
    "reject_429",
    "reject_rate_limit",
)
KINDS = ("no_server", "server_in_use", "phones_at_cap", "ratelimit")
CELLS = {(endpoint, outcome) for endpoint in ENDPOINTS for outcome in OUTCOMES}
NEVER = {("server", "reject_404"), ("server", "reject_429"), ("client", "reject_409")}
PAIRED = {
    ("server", "reject_409"): "server_in_use",
    ("client", "reject_404"): "no_server",
    ("client", "reject_429"): "phones_at_cap",
    ("server", "reject_rate_limit"): "ratelimit",
    ("client", "reject_rate_limit"): "ratelimit",
}


def cells(relay: RunningRelay) -> tuple[dict[tuple[str, str], float], dict[str, float]]:
    """All outcomes and all kinds, as a scrape shows them."""
    outcomes, kinds = {}, {}
    for (name, labels), count in relay.samples().items():
        values = dict(labels)
        if name == "pyrycode_relay_ws_upgrade_attempts_total":
            outcomes[values["endpoint"], values["outcome"]] = count
        elif name == "pyrycode_relay_register_failures_total":
            kinds[values["kind"]] = count
    return outcomes, kinds


def assert_only(relay: RunningRelay, *advanced: tuple[str, str]) -> None:
    """These cells are 1, what is paired with them too, and every other cell is 0."""
    outcomes, kinds = cells(relay)
    assert outcomes == {cell: float(cell in advanced) for cell in CELLS}
    paired = [PAIRED[cell] for cell in advanced if cell in PAIRED]
    assert kinds == {kind: paired.count(kind) for kind in KINDS}


async def test_a_fresh_scrape_has_exactly_sixteen_samples_all_zero() -> None:
    async with running_relay() as relay:
        outcomes, kinds = cells(relay)
        assert set(outcomes) == CELLS
        assert set(kinds) == set(KINDS)
        assert not any(outcomes.values())
        assert not any(kinds.values())
        assert not [name for name, _ in relay.samples() if name.endswith("_created")]


# -- the terminals --------------------------------------------------------------------------------


async def server_accept(relay: RunningRelay) -> None:
    await relay.binary()


async def client_accept(relay: RunningRelay) -> None:
    await relay.binary()
    await relay.phone()


async def server_headers(relay: RunningRelay) -> None:
    await refused(relay, "/v1/server", 400)


async def client_headers(relay: RunningRelay) -> None:
    await refused(relay, "/v1/client", 400)


async def refused(relay: RunningRelay, path: str, status: int) -> None:
    client = await relay.http()
    client.send(request(path, upgrade_headers()))
    assert (await client.response())[0] == status


async def server_conflict(relay: RunningRelay) -> None:
    binary, newcomer = await relay.binary(), await relay.binary()
    ping = await binary.frame()
    assert ping.opcode == 9
    binary.send(client_frame(ping.payload, PONG))
    assert await newcomer.closed() == (4409, "server-id already claimed")


async def client_no_server(relay: RunningRelay) -> None:
    phone = await relay.phone()
    assert await phone.closed() == (4404, "no server with that id")


async def client_at_cap(relay: RunningRelay) -> None:
    await relay.binary()
    await relay.phone()
    phone = await relay.phone()
    assert await phone.closed() == (4429, "too many phones for server-id")


Terminal = Callable[[RunningRelay], Awaitable[None]]
TERMINALS: dict[Terminal, list[tuple[str, str]]] = {
    server_accept: [("server", "accept")],
    server_headers: [("server", "reject_headers")],
    server_conflict: [("server", "accept"), ("server", "reject_409")],
    client_accept: [("server", "accept"), ("client", "accept")],
    client_headers: [("client", "reject_headers")],
    client_no_server: [("client", "reject_404")],
    client_at_cap: [("server", "accept"), ("client", "accept"), ("client", "reject_429")],
}


@pytest.mark.parametrize("terminal", TERMINALS)
async def test_a_terminal_advances_its_cells_and_no_other(terminal: Terminal) -> None:
    async with running_relay(limits={"phones": 1}) as relay:
        await terminal(relay)
        assert_only(relay, *TERMINALS[terminal])


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_rate_limit_deny_advances_its_cells_and_no_other(endpoint: str) -> None:
    limits = {"upgrade_burst": 1, "upgrade_refill": 1e6}
    async with running_relay(limits=limits) as relay:
        other = next(name for name in ENDPOINTS if name != endpoint)
        await refused(relay, f"/v1/{other}", 400)
        await refused(relay, f"/v1/{endpoint}", 429)
        assert_only(relay, (other, "reject_headers"), (endpoint, "reject_rate_limit"))


async def test_a_handshake_and_a_cap_are_no_upgrade_outcome() -> None:
    async with running_relay(limits={"connections": 1}) as relay:
        client = await relay.http()
        given = {"X-Pyrycode-Server": "s", "X-Pyrycode-Version": "1", "User-Agent": "u"}
        client.send(request("/v1/server", given))
        assert (await client.response())[0] == 426
        assert_only(relay)
        await relay.binary()
        await refused(relay, "/v1/server", 503)
        assert_only(relay, ("server", "accept"))


# -- the class alone ------------------------------------------------------------------------------


EVENTS = {
    "server_accept": ("server", "accept"),
    "client_accept": ("client", "accept"),
    "server_header_reject": ("server", "reject_headers"),
    "client_header_reject": ("client", "reject_headers"),
    "server_id_conflict": ("server", "reject_409"),
    "client_no_server": ("client", "reject_404"),
    "client_phones_at_cap": ("client", "reject_429"),
    "server_rate_limit_deny": ("server", "reject_rate_limit"),
    "client_rate_limit_deny": ("client", "reject_rate_limit"),
}


def test_each_event_once_and_kinds_equal_their_outcomes() -> None:
    metrics = make_metrics()
    for event in EVENTS:
        getattr(metrics.upgrades, event)()
    lines = render(metrics.registry, "")[0].decode().splitlines()
    family = "pyrycode_relay_ws_upgrade_attempts_total{"
    attempts = [line for line in lines if line.startswith(family)]
    kinds = [line for line in lines if line.startswith("pyrycode_relay_register_failures_total{")]
    assert (len(attempts), len(kinds)) == (12, 4)
    values = [float(line.rpartition(" ")[2]) for line in attempts]
    assert sorted(values) == [0.0] * 3 + [1.0] * 9
    assert sum(float(line.rpartition(" ")[2]) for line in kinds) == len(PAIRED)
    for endpoint, outcome in NEVER:
        assert f'{family}endpoint="{endpoint}",outcome="{outcome}"}} 0.0' in attempts


async def test_a_relay_that_serves_no_metrics_behaves_the_same() -> None:
    lines: list[str] = []
    limits = Limits(upgrade_burst=5, upgrade_refill=1e6, phones=1)
    settings = Settings(listen=Address("127.0.0.1", 0), limits=limits)
    relay = Relay(settings, Log(lines.append), make_metrics())
    relay.start(bind_all(settings))
    (port,) = relay.ports
    server = {"X-Pyrycode-Server": "s", "X-Pyrycode-Version": "1"}
    client = {"X-Pyrycode-Server": "s", "X-Pyrycode-Token": "t"}
    async with await open_peer(port, "/v1/server", server) as binary:
        async with await open_peer(port, "/v1/client", client) as phone:
            phone.send_text("1")
            assert (await binary.json())["frame"] == 1
            async with await open_peer(port, "/v1/client", client) as one_more:
                assert (await one_more.closed())[0] == 4429
        async with await open_peer(port, "/v1/client", client | {"X-Pyrycode-Server": "x"}) as lost:
            assert (await lost.closed())[0] == 4404
    async with await open_http(port) as plain:
        plain.send(request("/v1/client"))
        assert (await plain.response())[0] == 400
    async with await open_http(port) as plain:
        plain.send(request("/v1/client"))
        assert (await plain.response())[0] == 429
    await relay.stop()
    assert any("msg=rate_limited" in line for line in lines)


async def test_the_global_registry_stays_as_it_was() -> None:
    def names() -> list[str]:
        return sorted(metric.name for metric in prometheus_client.REGISTRY.collect())

    before = names()
    async with running_relay(limits={"phones": 1}) as relay:
        await client_at_cap(relay)
        relay.samples()
    assert names() == before
    assert not [name for name in before if name.startswith("pyrycode")]


# -- the page -------------------------------------------------------------------------------------


async def scrape(relay: RunningRelay, **headers: str) -> tuple[str, str]:
    client = relay.own(await open_http(relay.metrics_port))
    client.send(request("/metrics", {"Host": "localhost", **headers}))
    status, got, body = await client.response()
    assert status == 200
    return got["content-type"], body.decode()


async def test_text_by_default_and_openmetrics_when_asked_for() -> None:
    async with running_relay() as relay:
        await relay.binary()
        kind, text = await scrape(relay)
        assert kind.startswith("text/plain; version=0.0.4")
        assert not text.endswith("# EOF\n")
        kind, text = await scrape(relay, Accept="application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        families = {family.name: family for family in text_string_to_metric_families(text)}
        attempts = families["pyrycode_relay_ws_upgrade_attempts"]
        assert (attempts.type, len(attempts.samples)) == ("counter", 12)


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
TEXT, OPENMETRICS = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"
ACCEPTED = {
    PROMETHEUS: OPENMETRICS,
    "application/openmetrics-text": OPENMETRICS,
    "Application/OpenMetrics-Text; Version=1.0.0; Q=0.1": OPENMETRICS,
    'application/openmetrics-text;version="1.0.0"': OPENMETRICS,
    "application/openmetrics-text, text/plain": OPENMETRICS,
    "text/plain, application/openmetrics-text": OPENMETRICS,
    "application/openmetrics-text, */*": OPENMETRICS,
    "application/openmetrics-text;q=0.5, text/plain;q=0.4": OPENMETRICS,
    "application/*": OPENMETRICS,
    "*/*, text/plain;q=0": OPENMETRICS,
    "application/openmetrics-text;q=0": TEXT,
    "application/openmetrics-text;version=1.0.0;q=0.000, */*": TEXT,
    "application/openmetrics-text;q=0, text/plain;q=0": TEXT,
    "application/openmetrics-text;q=0.4, text/plain;q=0.5": TEXT,
    "application/openmetrics-text;q=0.4, text/*;q=0.5": TEXT,
    "application/openmetrics-text;version=1.0.0;q=0, application/openmetrics-text": TEXT,
    "application/openmetrics-text;version=2.0.0": TEXT,
    "application/openmetrics-text;version=x": TEXT,
    "application/openmetrics-text;q=x": TEXT,
    "application/openmetrics-text;q=2": TEXT,
    "application/openmetrics-text;q=nan": TEXT,
    "application/json": TEXT,
    "*/*": TEXT,
    ",;, ;q=": TEXT,
    "": TEXT,
}


async def test_a_format_is_chosen_by_weight() -> None:
    async with running_relay() as relay:
        for accept, expected in ACCEPTED.items():
            kind, _ = await scrape(relay, Accept=accept)
            assert kind == f"{expected}; charset=utf-8", accept


async def test_gauges_are_read_at_scrape_time() -> None:
    async with running_relay() as relay:
        binary = await relay.binary()
        phone = await relay.phone()
        assert relay.value("connected_binaries") == relay.value("connected_phones") == 1
        await binary.say_goodbye()
        await relay.until(lambda: relay.value("connected_binaries") == 0)
        assert relay.value("connected_phones") == 1  # in grace
        await phone.say_goodbye()
        await relay.until(lambda: relay.value("connected_phones") == 0)


async def test_a_real_prometheus_sees_the_same_sixteen_series(tmp_path: Path) -> None:
    limits = {"phones": 1, "upgrade_burst": 100}
    async with running_relay(limits=limits) as relay:
        for terminal in (client_at_cap, server_headers, client_headers):
            await terminal(relay)
        family = '{__name__=~"pyrycode_relay_(ws_upgrade_attempts|register_failures)_total"}'
        async with prometheus(tmp_path, relay.metrics_port) as server:
            series = await server.until(family)
        outcomes, kinds = cells(relay)
        seen = {
            (
                entry["metric"].get("endpoint"),
                entry["metric"].get("outcome"),
                entry["metric"].get("kind"),
            ): float(entry["value"][1])
            for entry in series
        }
        expected = {(e, o, None): count for (e, o), count in outcomes.items()}
        expected |= {(None, None, kind): count for kind, count in kinds.items()}
        assert len(series) == 16
        assert seen == expected
        assert sum(seen.values()) == 6
