"""OkHttp on a slow line, with megabytes waiting for it.

It pings by itself and hangs up when a pong takes longer than its interval, which is 20 s in the app
and 2 s here. The line is faster by as much, and what waits takes more than two intervals.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrelay.config.settings import Address
from tests.interop import toolchains
from tests.interop.program import program
from tests.interop.toolchains import Client
from tests.support.harness import running_relay
from tests.support.netns import OtherHost, needed_host

OKHTTP = [client for client in toolchains.ALL if client.name == "okhttp"]
PING_MILLISECONDS = "2000"
RATE = 800_000
FRAMES = 36
FRAME = "f" * 100_000


@pytest.fixture
def far() -> Iterator[OtherHost]:
    """Where the app is."""
    with needed_host() as host:
        yield host


@pytest.mark.parametrize("client", OKHTTP, ids=["okhttp"])
async def test_its_pings_are_answered_in_time(client: Client, build: Path, far: OtherHost) -> None:
    there = client._replace(command=far.command(*client.command, PING_MILLISECONDS))
    async with (
        running_relay(listen=Address("0.0.0.0", 0)) as relay,
        program(there, build, relay.port, "s1", far.relay_host) as app,
    ):
        binary, phone = await relay.binary(), await app.phone()
        await phone.send("0")
        conn_id = (await binary.json())["conn_id"]
        far.slow_down(RATE)
        for _ in range(FRAMES):
            binary.send_json({"conn_id": conn_id, "frame": FRAME})
        for _ in range(FRAMES):
            assert await phone.json() == FRAME
        await phone.ping()
