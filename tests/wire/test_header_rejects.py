"""A required header that is missing or bad: said to the client, to developers, and counted."""

from collections.abc import Callable, Iterator

import pytest

from fastrelay.log import WHOLE_LINES
from tests.support.attempts import CLIENT, SERVER
from tests.support.harness import START, RunningRelay, relay_with_workers, running_relay
from tests.support.peer import request, upgrade_headers
from tests.support.running import Samples

ENDPOINTS = {"server": SERVER, "client": CLIENT}
REQUIRED = {
    ("server", "x-pyrycode-server"),
    ("server", "x-pyrycode-version"),
    ("server", "user-agent"),
    ("client", "x-pyrycode-server"),
    ("client", "x-pyrycode-token"),
    ("client", "user-agent"),
}
FAMILY = "pyrycode_relay_headers_rejected_total"
VALUE = "s3cret"

FAULTS: dict[str, Callable[[str, bytes], bytes]] = {
    "missing": lambda line, head: head.replace(line.encode(), b""),
    "empty": lambda line, head: head.replace(line.encode(), _line(line, "")),
    "given more than once": lambda line, head: head.replace(line.encode(), line.encode() * 2),
    "longer than": lambda line, head: head.replace(line.encode(), _line(line, VALUE * 700)),
    "not printable ASCII": lambda line, head: head.replace(line.encode(), _line(line, "\xe9")),
}


def _line(line: str, value: str) -> bytes:
    return f"{line.partition(':')[0]}: {value}\r\n".encode("latin-1")


def counted(samples: Samples) -> dict[tuple[str, str], float]:
    """The family as a scrape shows it."""
    found = {}
    for (name, labels), count in samples.items():
        if name == FAMILY:
            values = dict(labels)
            found[values["endpoint"], values["header"]] = count
    return found


async def refused(relay: RunningRelay, path: str, head: bytes) -> bytes:
    """The body of a 400."""
    client = await relay.http()
    client.send(head)
    status, _, body = await client.response()
    assert status == 400
    return body


@pytest.fixture(params=["one process", "workers"])
def processes(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "one process":
        yield
        return
    token = START.set(relay_with_workers)
    yield
    START.reset(token)


@pytest.mark.parametrize(
    ("endpoint", "header", "fault"),
    [
        (*cell, fault)
        for cell in sorted(REQUIRED)
        for fault in FAULTS
        if (cell[1], fault) != ("user-agent", "not printable ASCII")
    ],
)
async def test_the_header_is_named_and_its_value_is_not(
    endpoint: str, header: str, fault: str
) -> None:
    async with running_relay() as relay:
        given = {**ENDPOINTS[endpoint], "User-Agent": "u"}
        given |= {name: VALUE for name in given if name.lower() == header}
        whole = request(f"/v1/{endpoint}", upgrade_headers(given))
        (line,) = [f"{name}: {VALUE}\r\n" for name in given if name.lower() == header]
        assert line.encode() in whole
        body = await refused(relay, endpoint, FAULTS[fault](line, whole))
        assert body.startswith(f"{header.title()}: {fault}".encode())
        assert body.count(b"\n") == 1
        assert VALUE.encode() not in body
        (logged,) = relay.log_of("header_rejected")
        assert f" path=/v1/{endpoint} header={header} err=" in logged
        assert " level=DEBUG " in logged
        assert fault in logged
        assert VALUE not in logged
        cells = counted(relay.samples())
        assert cells == {cell: float(cell == (endpoint, header)) for cell in REQUIRED}
        assert relay.value(
            "ws_upgrade_attempts_total", endpoint=endpoint, outcome="reject_headers"
        ) == sum(cells.values())


@pytest.mark.parametrize("agent", ["Wächter/1", "a\tb", "\xff\x80"])
async def test_a_user_agent_may_have_any_bytes(agent: str) -> None:
    async with running_relay() as relay:
        for endpoint, given in ENDPOINTS.items():
            client = await relay.http()
            headers = upgrade_headers({**given, "User-Agent": agent})
            client.send(request(f"/v1/{endpoint}", headers))
            assert (await client.response())[0] == 101


@pytest.mark.usefixtures("processes")
async def test_the_first_one_that_is_bad_counts_and_all_processes_are_summed() -> None:
    async with running_relay() as relay:
        assert counted(relay.samples()) == dict.fromkeys(REQUIRED, 0.0)
        for _ in range(8):  # the kernel spreads them over the workers
            await refused(relay, "client", request("/v1/client", upgrade_headers({})))
        others = dict.fromkeys(REQUIRED, 0.0)
        assert counted(relay.samples()) == others | {("client", "x-pyrycode-server"): 8.0}


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_a_flood_is_no_flood_of_lines_and_none_above_its_level(level: str) -> None:
    intervals = {"log_flood": 1000.0}
    async with running_relay(log_level=level, intervals=intervals) as relay:
        for _ in range(WHOLE_LINES + 5):
            await refused(relay, "client", request("/v1/client", upgrade_headers({})))
        await relay.relay.stop()
        lines = relay.log_of("header_rejected")
        if level == "info":
            assert not lines
        else:
            assert len(lines) == WHOLE_LINES + 1
            assert ' level=DEBUG msg=header_rejected err="5 more suppressed"' in lines[-1]
