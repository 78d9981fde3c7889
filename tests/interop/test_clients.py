"""Clients that know nothing of this project, as phones and as binaries, against a real relay."""

from functools import partial
from pathlib import Path

import pytest

from tests.interop import scenarios, toolchains
from tests.interop.program import program
from tests.interop.scenarios import Scenario
from tests.interop.toolchains import Client
from tests.support.process import RelayProcess

CASES = [
    pytest.param(
        client,
        scenario,
        id=f"{client.name}-{scenario.run.__name__}",
        marks=[pytest.mark.slow] if client.toolchain else [],
    )
    for client in toolchains.ALL
    for scenario in scenarios.ALL
    if scenario.possible(client)
]


@pytest.mark.parametrize(("client", "scenario"), CASES)
async def test_client(
    client: Client, scenario: Scenario, build: Path, relay: RelayProcess, server_id: str
) -> None:
    await scenario.run(partial(program, client, build, relay.port, server_id))
