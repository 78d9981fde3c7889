"""What an administrator sees with curl, which cannot speak WebSocket but can ask for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.support.peer import Peer, close_payload, open_peer
from tests.support.process import RelayProcess
from tests.support.programs import needs

TIMEOUT = 40.0
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(autouse=True)
def _curl() -> None:
    needs("curl", "curl")


@contextlib.asynccontextmanager
async def curl(*arguments: str, **headers: str) -> AsyncIterator[asyncio.StreamReader]:
    """A running curl; gives what it prints."""
    given = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    process = await asyncio.create_subprocess_exec(
        *("stdbuf", "-o0"),  # curl's own --no-buffer leaves out the headers
        *("curl", "--silent", "--include", "--noproxy", "*", *given, *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(TIMEOUT):
            yield process.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def url(relay: RelayProcess, path: str) -> str:
    return f"http://127.0.0.1:{relay.port}{path}"


async def test_health_twice_on_one_connection(relay: RelayProcess) -> None:
    written = ("--write-out", "\\nstatus %{http_code}, connections %{num_connects}\\n")
    async with curl(*written, *[url(relay, "/healthz")] * 2) as output:
        text = (await output.read()).decode()
    assert text.count('{"status":"ok",') == 2
    assert "status 200, connections 1" in text
    assert "status 200, connections 0" in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"X-Pyrycode-Server": "s1"} | HANDSHAKE, 400),
        ({"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"}, 426),
    ],
)
async def test_refusals(relay: RelayProcess, headers: dict[str, str], status: int) -> None:
    async with curl(url(relay, "/v1/client"), **headers) as output:
        assert (await output.readline()).split()[1] == b"%d" % status


async def test_as_a_phone_without_its_binary(relay: RelayProcess, server_id: str) -> None:
    headers = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Token": "t"} | HANDSHAKE
    async with curl(url(relay, "/v1/client"), **headers) as output:
        head = await output.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        # The answer to the key above, from RFC 6455 §1.3.
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        close = close_payload(4404, "no server with that id")
        assert await output.readexactly(2 + len(close)) == bytes([0x88, len(close)]) + close


async def test_as_a_binary_that_listens(relay: RelayProcess, server_id: str) -> None:
    headers = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Version": "1"} | HANDSHAKE
    async with curl(url(relay, "/v1/server"), **headers) as output:
        assert (await output.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        async with await a_phone(relay, server_id) as phone:
            phone.send_text('{"hello":1}')
            envelope = await output.readuntil(b"}}")
    assert envelope[:2] == bytes([0x81, len(envelope) - 2])
    assert envelope.endswith(b',"frame":{"hello":1}}')


async def a_phone(relay: RelayProcess, server_id: str) -> Peer:
    headers = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Token": "t"}
    return await open_peer(relay.port, "/v1/client", headers)
