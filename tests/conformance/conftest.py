"""One echo server for all cases of a process."""

from collections.abc import Iterator

import pytest

from tests.conformance.echo import EchoServer


@pytest.fixture(scope="session")
def server() -> Iterator[EchoServer]:
    """Running; when it stops, no connection and no timer may be left."""
    with EchoServer() as running:
        yield running
