"""One relay, as anybody would run it, for all clients of a test process."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.toolchains import Client, made
from tests.support.process import RelayProcess, relay_process


@pytest.fixture(scope="package")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """A ``python -m fastrelay`` with default limits, but for the one that counts attempts."""
    log = tmp_path_factory.mktemp("relay") / "log"
    with asyncio.Runner() as runner:
        relays = contextlib.AsyncExitStack()
        running = relay_process(log, "--upgrade-burst", "0", "--log-level", "debug")
        yield runner.run(relays.enter_async_context(running))
        runner.run(relays.aclose())


@pytest.fixture
def server_id() -> str:
    """A server-id nobody else uses: one that a test leaves stays reserved for a while."""
    return f"interop-{secrets.token_hex(8)}"


@pytest.fixture
def build(client: Client, worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the client is run; made once for all tests and all workers."""
    base = tmp_path_factory.getbasetemp()
    return made(client, base if worker_id == "master" else base.parent)
