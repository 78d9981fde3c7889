"""What every client is put through, as phones and as binaries; the table is at the end.

A scenario is given ``start``, which runs one program of the client it is about.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

import pytest

from tests.interop.program import Connection, Program, Refused
from tests.interop.toolchains import Client

Start = Callable[..., AbstractAsyncContextManager[Program]]

LIMIT = 256 * 1024
SIZES = (1, 2, 125, 126, 127, 65_535, 65_536, 200_000, LIMIT)
PHONES = 16


def frame(size: int) -> str:
    """A JSON value of so many bytes."""
    return "7" if size == 1 else f'"{"x" * (size - 2)}"'


async def still_works(binary: Connection, peers: Program) -> None:
    """A new phone reaches ``binary``, and the other way round."""
    phone = await peers.phone()
    await phone.send('"up"')
    envelope = await binary.json()
    assert envelope["frame"] == "up"
    await binary.send(json.dumps({"conn_id": envelope["conn_id"], "frame": "down"}))
    assert await phone.json() == "down"


async def frames_of_every_size_both_ways(start: Start) -> None:
    async with start() as peers:
        binary, phone = await peers.binary(), await peers.phone()
        await phone.send('{ "spaces": 1.50, "é": "\\u00e9" }')
        first = await binary.text()
        conn_id = json.loads(first)["conn_id"]
        prefix = f'{{"conn_id":"{conn_id}","frame":'
        assert first == prefix + '{ "spaces": 1.50, "é": "\\u00e9" }}'
        for size in SIZES:
            await phone.send(frame(size))
            assert await binary.text() == f"{prefix}{frame(size)}}}"
            down = frame(min(size, LIMIT - len(prefix) - 1))  # the limit is the envelope's
            await binary.send(f"{prefix}{down}}}")
            assert await phone.text() == down


async def pings(start: Start) -> None:
    async with start() as peers:
        binary, phone = await peers.binary(), await peers.phone()
        await phone.ping()
        await binary.ping()


async def fragmented_messages(start: Start) -> None:
    async with start() as peers:
        binary, phone = await peers.binary(), await peers.phone()
        await phone.fragments('{"a"', ":[1,", "2]}")
        envelope = await binary.json()
        assert envelope["frame"] == {"a": [1, 2]}
        await binary.fragments('{"conn_id":', json.dumps(envelope["conn_id"]), ',"frame":"', 'ä"}')
        assert await phone.text() == '"ä"'


async def closes_by_either_side(start: Start) -> None:
    async with start() as peers:
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
        assert await phone.closed() == (4421, "")
        await still_works(binary, peers)
        assert await binary.close(1000) == 1000


async def missing_headers(start: Start) -> None:
    async with start() as peers:
        for path in ("/v1/client", "/v1/server"):
            with pytest.raises(Refused) as refused:
                await peers.connect(path, {})
            assert refused.value.status == 400


async def a_phone_without_its_binary(start: Start) -> None:
    async with start() as peers:
        phone = await peers.phone()
        assert await phone.closed() == (4404, "no server with that id")
        await still_works(await peers.binary(), peers)


async def one_phone_too_many(start: Start) -> None:
    async with start() as peers:
        await peers.binary()
        phones = [await peers.phone() for _ in range(PHONES)]
        one_more = await peers.phone()
        assert await one_more.closed() == (4429, "too many phones for server-id")
        await phones[0].close()
        assert await (await peers.phone()).close(4002) == 4002  # its place could be taken


async def a_second_binary_is_refused_while_the_first_answers(start: Start) -> None:
    async with start() as first, start() as second:
        incumbent = await first.binary()
        newcomer = await second.binary()
        async with asyncio.TaskGroup() as meanwhile:
            reading = meanwhile.create_task(incumbent.json())  # some answer pings only then
            assert await newcomer.closed() == (4409, "server-id already claimed")
            await (await second.phone()).send('"still here"')
        assert reading.result()["frame"] == "still here"


async def eviction_and_reconnect(start: Start) -> None:
    async with start() as peers:
        binary, phone = await peers.binary(), await peers.phone()
        await binary.close()
        binary = await peers.binary()
        assert await phone.closed() == (4404, "binary reclaimed server-id")
        await still_works(binary, peers)


class Scenario(NamedTuple):
    """A row of the table: what happens, and for which clients it can."""

    run: Callable[[Start], Awaitable[None]]
    possible: Callable[[Client], bool] = lambda client: True


ALL = (
    Scenario(frames_of_every_size_both_ways),
    Scenario(pings, possible=lambda client: client.pings),
    Scenario(fragmented_messages, possible=lambda client: client.fragments),
    Scenario(closes_by_either_side),
    Scenario(missing_headers),
    Scenario(a_phone_without_its_binary),
    Scenario(one_phone_too_many),
    Scenario(a_second_binary_is_refused_while_the_first_answers),
    Scenario(eviction_and_reconnect),
)
