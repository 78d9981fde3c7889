"""Handing connections to their owner and adopting them: each side with one that misbehaves."""

import asyncio
import socket

from fastrelay.policy.shared.endings import SharedEndings
from fastrelay.protocol.cause import Aborted, Cause
from tests.support.certificates import local_certificate
from tests.support.key_updates import TalkativeClient
from tests.support.one_of_two import HERE, OTHER, one_of_two
from tests.support.peer import TIMEOUT, request, upgrade_headers

NOT_ENCRYPTED = b"\x17\x03\x03\x00\x20" + bytes(32)
"""A record of TLS that no session has made."""


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


async def test_an_owner_that_refuses_too_late_is_counted_as_away() -> None:
    async with one_of_two(intervals={"handover": 0.01, "tick": 1000.0}) as worker:
        client = await worker.http()
        client.send(phone_head(worker.id_of(OTHER)))
        message, packet = await worker.handed_over()
        packet.close()
        while asyncio.get_running_loop().time() < message.until:
            await asyncio.sleep(0.001)
        worker.answer(message, adopted=False)
        assert (await client.response())[0] == 503
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


async def test_a_tls_connection_that_fails_while_it_is_handed_over_ends_for_that_cause() -> None:
    async with one_of_two(tls=local_certificate()) as worker:

        def ask() -> TalkativeClient:
            client = TalkativeClient(worker.port)
            client.shake_hands()
            client.sock.sendall(client.encrypted(phone_head(worker.id_of(OTHER))) + NOT_ENCRYPTED)
            return client

        client = await asyncio.to_thread(ask)
        message, packet = await worker.handed_over()
        ending = SharedEndings(worker.shared.ending_rows, OTHER).of(HERE, message.number)
        worker.answer(message, adopted=True)
        pair_end, far_end = packet.sockets
        with pair_end, far_end, client.sock:
            async with asyncio.timeout(TIMEOUT):
                assert await asyncio.get_running_loop().sock_recv(pair_end, 1) == b""
        why = ending.why()
        assert isinstance(why, Aborted)
        assert why.cause is Cause.TLS_FAILED
