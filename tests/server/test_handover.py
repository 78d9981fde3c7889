"""Handing connections to their owner and adopting them: each side with one that misbehaves."""

import asyncio
import socket

from tests.support.one_of_two import OTHER, one_of_two
from tests.support.peer import TIMEOUT, request, upgrade_headers


def phone_head(server_id: str) -> bytes:
    headers = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Token": "t"}
    return request("/v1/client", upgrade_headers(headers))


async def test_an_owner_that_is_silent_is_given_up_in_time_whatever_stalled_before() -> None:
    async with one_of_two(intervals={"handover": 0.05}) as worker:
        worker.relay.wheel._stalled = 1000.0
        client = await worker.http()
        client.send(phone_head(worker.id_of(OTHER)))
        status, headers, _ = await client.response()
        assert (status, headers["retry-after"]) == (503, "2")
        assert worker.tallies.owner_away == 1


async def test_a_connection_whose_descriptor_is_lost_is_refused_and_the_next_is_adopted() -> None:
    """As if the process had no descriptor left: the kernel drops those that do not fit."""
    async with one_of_two() as worker:
        lost = worker.hand_over(worker.outgoing, "lost", copies=9)
        assert await worker.answers() == [(False, *lost)]
        assert worker.tallies.owner_away == 1
        there, here = socket.socketpair()
        with there, here:
            adopted = worker.hand_over(there, "adopted")
            assert await worker.answers() == [(True, *adopted)]
            here.setblocking(False)
            async with asyncio.timeout(TIMEOUT):
                loop = asyncio.get_running_loop()
                assert (await loop.sock_recv(here, 1000)).startswith(b"HTTP/1.1 101 ")
