"""Handing connections to their owner and adopting them: each side with one that misbehaves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from fastrelay.net.sockets import bound_send_buffer
from fastrelay.net.tls.session import PIECE_BYTES
from fastrelay.policy.shared.connections import Transfer
from fastrelay.policy.shared.endings import Ending, SharedEndings
from fastrelay.protocol.cause import Aborted, Cause
from tests.support.certificates import local_certificate
from tests.support.key_updates import TalkativeClient
from tests.support.one_of_two import HERE, OTHER, OneOfTwo, one_of_two
from tests.support.peer import TIMEOUT, client_frame, request, upgrade_headers

NOT_ENCRYPTED = b"\x17\x03\x03\x00\x20" + bytes(32)
"""A record of TLS that no session has made."""


def phone_head(server_id: str, name: str = "phone") -> bytes:
    headers = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Token": "t"}
    headers["X-Pyrycode-Device-Name"] = name
    return request("/v1/client", upgrade_headers(headers))


async def test_an_owner_that_is_silent_is_given_up_in_time_whatever_stalled_before() -> None:
    async with one_of_two(intervals={"handover": 0.05}) as worker:
        wheel, time = worker.relay.wheel, asyncio.get_running_loop().time
        wheel._stalled = 1000.0
        await worker.until(lambda: wheel.now < time() - 999)
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
        lost = worker.hand_over("lost", *[worker.outgoing] * 9)
        assert await worker.answers() == [(False, *lost)]
        assert worker.tallies.owner_away == 1
        there, here = socket.socketpair()
        with there, here:
            adopted = worker.hand_over("adopted", there)
            assert await worker.answers() == [(True, *adopted)]
            here.setblocking(False)
            async with asyncio.timeout(TIMEOUT):
                loop = asyncio.get_running_loop()
                assert (await loop.sock_recv(here, 1000)).startswith(b"HTTP/1.1 101 ")


async def talk(worker: OneOfTwo, *, behind: bytes = b"", before: bytes = b"") -> TalkativeClient:
    """A phone of the other worker that speaks TLS, and does not read.

    Args:
        before: what it sends before its request.
        behind: what it sends behind it without encryption.
    """

    def ask() -> TalkativeClient:
        client = TalkativeClient(worker.port, window=2048)
        client.shake_hands()
        head = before + phone_head(worker.id_of(OTHER))
        client.sock.sendall(client.encrypted(head) + behind)
        return client

    return await asyncio.to_thread(ask)


@asynccontextmanager
async def adopted(worker: OneOfTwo) -> AsyncIterator[tuple[socket.socket, Ending]]:
    """The owner's end of the splice of the next connection, and how that ends."""
    message, packet = await worker.handed_over()
    pair_end, far_end = packet.sockets
    bound_send_buffer(far_end, 256 * 1024)  # as an owner does
    with pair_end, far_end:
        pair_end.setblocking(False)
        worker.answer(message, adopted=True)
        yield pair_end, SharedEndings(worker.shared.ending_rows, OTHER).of(HERE, message.number)


async def at_eof(sock: socket.socket) -> bool:
    async with asyncio.timeout(TIMEOUT):
        return await asyncio.get_running_loop().sock_recv(sock, 1) == b""


async def test_the_owner_of_a_spliced_connection_bounds_its_send_buffer() -> None:
    async with one_of_two() as worker:
        there, here = socket.socketpair()
        with there, here, socket.socket() as tcp:
            chosen = tcp.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            transfer = worker.hand_over("spliced", there, tcp)
            assert await worker.answers() == [(True, *transfer)]
            bounded = tcp.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            assert 0 < bounded != chosen


async def test_a_tls_connection_that_fails_while_it_is_handed_over_ends_for_that_cause() -> None:
    async with one_of_two(tls=local_certificate()) as worker:
        client = await talk(worker, behind=NOT_ENCRYPTED)
        async with adopted(worker) as (owner, ending):
            assert await at_eof(owner)
            why = ending.why()
        client.sock.close()
        assert isinstance(why, Aborted)
        assert why.cause is Cause.TLS_FAILED


async def test_a_connection_that_has_ended_while_it_waited_is_not_handed_over() -> None:
    async with one_of_two(tls=local_certificate()) as worker:
        free = worker.machine._counted._free[OTHER]
        places = free.copy()
        free.clear()
        ended = await talk(worker, behind=NOT_ENCRYPTED)
        client = await worker.http()
        client.send(phone_head(worker.id_of(OTHER), "still there"))
        await worker.until(lambda: worker.shared.connections[HERE].counts[0] == 2)
        free.extend(places)
        worker.answer(Transfer(0, 1), adopted=False)  # there is room again
        message, packet = await worker.handed_over()
        packet.close()
        ended.sock.close()
        assert message.device_name == "still there"


async def test_what_comes_with_the_handshake_behind_a_request_is_all_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than is decrypted at once: the request is handed over before the rest is decrypted."""
    frames = b"".join(client_frame(f'"{number}"'.encode() * 500) for number in range(40))
    turns: list[Callable[[], None]] = []
    async with one_of_two(tls=local_certificate()) as worker:
        newcomers = worker.relay.listeners._newcomers
        client = TalkativeClient(worker.port)
        flight = await asyncio.to_thread(client.last_flight)
        monkeypatch.setattr(newcomers, "run", lambda work, **_: False)
        monkeypatch.setattr(newcomers, "queue", lambda work, **_: turns.append(work))
        data = flight + client.encrypted(phone_head(worker.id_of(OTHER))) + client.encrypted(frames)
        await asyncio.to_thread(client.sock.sendall, data)
        (pending,) = worker.relay.pending._connections
        layer = pending._transport  # type: ignore[attr-defined]
        await worker.until(lambda: len(layer._undecrypted) > PIECE_BYTES)
        monkeypatch.undo()
        (turn,) = turns
        turn()
        message, packet = await worker.handed_over()
        pair_end, far_end = packet.sockets
        with pair_end, far_end, client.sock:
            pair_end.setblocking(False)
            worker.answer(message, adopted=True)
            got = message.initial_data
            async with asyncio.timeout(TIMEOUT):
                while len(got) < len(frames):
                    got += await asyncio.get_running_loop().sock_recv(pair_end, 65536)
            assert got == frames


@pytest.mark.parametrize("turns", range(4))
async def test_a_peer_that_is_gone_before_its_splice_is_complete_is_seen_to_be(turns: int) -> None:
    async with one_of_two(tls=local_certificate()) as worker:
        client = await talk(worker)
        async with adopted(worker) as (owner, _):
            await worker.until(lambda: len(worker.machine.splices) == 1)
            for _ in range(turns):
                await asyncio.sleep(0)
            worker.machine.splices.abort()
            assert await at_eof(owner)
        client.sock.close()


async def test_an_owner_is_not_read_while_the_peer_has_not_read_what_came_before() -> None:
    async with one_of_two(tls=local_certificate()) as worker:
        worker.keep_in_process(1)
        client = await talk(worker, before=request("/healthz") * 90)
        async with adopted(worker) as (owner, _):
            await worker.until(lambda: len(worker.machine.splices) == 1)
            sent = full = 0
            while full < 100:  # iterations of the loop in which nothing was taken
                assert sent < 2_000_000
                try:
                    sent += owner.send(bytes(65536))
                    full = 0
                except BlockingIOError:
                    full += 1
                    await asyncio.sleep(0)
        client.sock.close()


async def test_what_an_owner_has_adopted_is_spliced_though_its_answer_did_not_come() -> None:
    async with one_of_two(tls=local_certificate(), intervals={"handover": 0.05}) as worker:
        client = await worker.http()
        client.send(phone_head(worker.id_of(OTHER)))
        message, packet = await worker.handed_over()
        assert worker.counted.adopt(HERE, message.transfer)
        pair_end, far_end = packet.sockets
        with pair_end, far_end:
            pair_end.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            assert (await client.response())[0] == 101
