"""Slow peers with TLS whom another worker than their owner has accepted.

Who takes bytes lives, however slow the line is; who takes none is closed; nobody else notices.
"""

import asyncio

import pytest

from tests.support.in_subprocess import RelayInSubprocess
from tests.support.netns import OtherHost
from tests.support.peer import HttpClient, Peer, open_http
from tests.support.workers import Pair, ask, only_owner, workers
from tests.wire.test_slow_lines import ANYWHERE, flood, gets_all_down, gets_all_up

pytestmark = pytest.mark.slow


async def far_client(relay: RelayInSubprocess, far: OtherHost, acceptor: int) -> HttpClient:
    """A connection from the other host that this worker has accepted."""
    while True:
        client = relay.own(
            await open_http(relay.port, relay.tls, sock=await far.connect(relay.port))
        )
        if await relay.owner_of(client) == acceptor:
            return client
        await client.close()


async def ready(relay: RelayInSubprocess, client: HttpClient, side: str, server_id: str) -> Peer:
    """The same connection, upgraded."""
    ask(client, side, server_id)
    assert (await client.response())[0] == 101
    return relay.own(Peer(client.reader, client.writer))


async def siblings(relay: RelayInSubprocess, acceptor: int) -> Pair:
    """A pair of another server-id, both of whom ``acceptor`` has accepted."""
    peers = [
        await ready(relay, await relay.http_at(acceptor), side, "other")
        for side in ("server", "client")
    ]
    return Pair("other", -1, *peers)


async def test_a_phone_on_a_slow_line_gets_all_that_it_is_sent(far: OtherHost) -> None:
    async with workers(secure=True, intervals={"write": 0.4}, listen=ANYWHERE) as relay:
        binary = await relay.binary()
        acceptor = 1 - await only_owner(relay)
        others = await siblings(relay, acceptor)
        phone = await ready(relay, await far_client(relay, far, acceptor), "client", "s1")
        await gets_all_down(far, binary, phone, lambda number: others.converse(b"%d" % number))


async def test_a_binary_on_a_slow_line_gets_all_that_it_is_sent(far: OtherHost) -> None:
    async with workers(secure=True, intervals={"write": 0.4}, listen=ANYWHERE) as relay:
        first = await relay.binary()
        acceptor = 1 - await only_owner(relay)
        await first.say_goodbye()
        others = await siblings(relay, acceptor)
        binary = await ready(relay, await far_client(relay, far, acceptor), "server", "s1")
        phone = await relay.phone()
        await gets_all_up(far, phone, binary, lambda number: others.converse(b"%d" % number))


async def test_a_binary_that_takes_nothing_is_closed_and_its_siblings_go_on() -> None:
    async with workers(secure=True, intervals={"write": 0.5, "grace": 0.05}) as relay:
        first = await relay.binary()
        acceptor = 1 - await only_owner(relay)
        await first.say_goodbye()
        others = await siblings(relay, acceptor)
        client = await relay.http_at(acceptor, window=8192)
        binary = await ready(relay, client, "server", "s1")
        phone = await relay.phone()
        binary.stop_reading()
        flooding = asyncio.create_task(flood(phone))
        failed = {"side": "binary", "cause": "write_failed", "code": "none"}
        number = 0
        while not relay.value("connections_closed_total", **failed):
            number += 1
            await others.converse(b"%d" % number)
        await relay.until(lambda: relay.value("connected_binaries") == 1)
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
