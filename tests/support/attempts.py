"""Upgrade attempts over plain HTTP, and what was counted of them."""

from tests.support.harness import RunningRelay
from tests.support.peer import request

SERVER = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1.2.3"}
CLIENT = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t0k3n"}
ENDPOINTS = [("/v1/server", SERVER), ("/v1/client", CLIENT)]
ERROR_HEADERS = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}


def attempts(relay: RunningRelay) -> dict[tuple[str, str], float]:
    """The upgrade cells and failure kinds that are not 0."""
    return {
        tuple(value for _, value in labels): count
        for (name, labels), count in relay.samples().items()
        if count and ("upgrade_attempts" in name or "register_failures" in name)
    }


async def ask(
    relay: RunningRelay, path: str, headers: dict[str, str], method: str = "GET"
) -> tuple[int, dict[str, str]]:
    """Send a request; its answer must have no body unless it is 400, and nothing may follow it."""
    client = await relay.http()
    client.send(request(path, headers, method))
    status, got, body = await client.response()
    assert body == b"" or status == 400
    assert ERROR_HEADERS.items() <= got.items()
    assert await client.at_eof()
    return status, got
