"""Clients that know nothing of this project, as phones and as binaries, against a real relay."""

import json

import pytest

from tests.interop.program import Program, Refused, program
from tests.interop.toolchains import ALL, Client, made
from tests.support.harness import running_relay

LIMIT = 256 * 1024
SIZES = (1, 2, 125, 126, 127, 65_535, 65_536, 200_000, LIMIT)
INTERVALS = {"takeover_probe": 0.2, "grace": 20.0}

pytestmark = pytest.mark.parametrize("client", ALL, ids=[client.name for client in ALL])


@pytest.fixture
def command(client: Client, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How to run the client; made once for all tests and all workers."""
    return made(client, tmp_path_factory.getbasetemp().parent)


def frame(size: int) -> str:
    """A JSON value of so many bytes."""
    return "7" if size == 1 else f'"{"x" * (size - 2)}"'


async def test_frames_of_every_size_both_ways(client: Client, command: list[str]) -> None:
    async with running_relay() as relay, program(command, relay.url) as peers:
        binary, phone = await peers.binary(), await peers.phone()
        await phone.send('{ "spaces": 1.50, "é": "\\u00e9" }')
        first = await binary.text()
        conn_id = json.loads(first)["conn_id"]
        prefix = f'{{"conn_id":"{conn_id}","frame":'
        assert first == prefix + '{ "spaces": 1.50, "é": "\\u00e9" }}'
        for size in SIZES:
            await phone.send(frame(size))
            assert await binary.text() == f"{prefix}{frame(size)}}}"
            down = frame(max(1, min(size, LIMIT - len(prefix) - 1)))
            await binary.send(f"{prefix}{down}}}")
            assert await phone.text() == down
        await phone.ping()
        await binary.ping()


async def test_fragmented_messages(client: Client, command: list[str]) -> None:
    if not client.fragments:
        pytest.skip(f"{client.name} offers no way to send fragments")
    async with running_relay() as relay, program(command, relay.url) as peers:
        binary, phone = await peers.binary(), await peers.phone()
        await phone.fragments('{"a"', ":[1,", "2]}")
        envelope = await binary.json()
        assert envelope["frame"] == {"a": [1, 2]}
        await binary.fragments('{"conn_id":', json.dumps(envelope["conn_id"]), ',"frame":"', 'ä"}')
        assert await phone.text() == '"ä"'


async def test_closes_by_either_side(client: Client, command: list[str]) -> None:
    async with running_relay() as relay, program(command, relay.url) as peers:
        binary, phone = await peers.binary(), await peers.phone()
        await phone.send("1")
        conn_id = (await binary.json())["conn_id"]
        assert await phone.close(4001) == 4001
        assert await binary.json() == {"conn_id": conn_id, "close_code": 4001}
        phone = await peers.phone()
        await phone.send("2")
        conn_id = (await binary.json())["conn_id"]
        await binary.send(json.dumps({"conn_id": conn_id, "frame": "bye", "close_code": 4421}))
        assert await phone.json() == "bye"
        assert (await phone.closed())[0] == 4421
        assert await binary.close(1000) == 1000
        await relay.until(lambda: relay.value("connected_binaries") == 0)


async def test_refusals(client: Client, command: list[str]) -> None:
    async with running_relay(limits={"phones": 1}) as relay, program(command, relay.url) as peers:
        phone = await peers.phone("nobody")
        assert await phone.closed() == (4404, "no server with that id")
        await peers.binary()
        await peers.phone()
        one_more = await peers.phone()
        assert await one_more.closed() == (4429, "too many phones for server-id")
        with pytest.raises(Refused) as refused:
            await peers.connect("/v1/client", {"X-Pyrycode-Server": "s1"})
        assert refused.value.status == 400


async def test_a_second_binary_is_refused_while_the_first_answers(
    client: Client, command: list[str]
) -> None:
    async with running_relay() as relay:
        async with program(command, relay.url) as first, program(command, relay.url) as second:
            incumbent = await first.binary()
            newcomer = await second.binary()
            await incumbent.ping()  # some libraries answer pings only while they are used
            assert await newcomer.closed() == (4409, "server-id already claimed")
            await still_works(first, incumbent)


async def still_works(peers: Program, binary: object) -> None:
    phone = await peers.phone()
    await phone.send('"still here"')
    assert (await binary.json())["frame"] == "still here"  # type: ignore[attr-defined]


async def test_eviction_and_reconnect(client: Client, command: list[str]) -> None:
    async with running_relay(intervals=INTERVALS) as relay:
        async with program(command, relay.url) as peers:
            binary, phone = await peers.binary(), await peers.phone()
            await binary.close()
            await relay.until(lambda: relay.value("connected_binaries") == 0)
            binary = await peers.binary()
            assert await phone.closed() == (4404, "binary reclaimed server-id")
            await still_works(peers, binary)
