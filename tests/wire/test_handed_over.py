"""Connections that another worker than their owner has accepted, each of them for certain."""

import os
import signal
import time

import pytest

from tests.support.in_subprocess import RelayInSubprocess
from tests.support.peer import PING, PONG, HttpClient, Peer, client_frame, port_of
from tests.support.workers import Pair, ask, only_owner, workers

BEHIND = [10, 16 * 1024, 40_000, 300_000]
"""Bytes of a message behind the head: less than one read takes, and more."""

MANY = 70
"""Of which 64 may be on their way from one worker to another; the others wait."""


async def handed_over(
    relay: RelayInSubprocess, side: str, acceptor: int, *, behind: bytes = b""
) -> Peer:
    """A connection that ``acceptor`` accepts, with frames in one write with the head."""
    client = await relay.http_at(acceptor)
    ask(client, side, "s1", behind=behind)
    assert (await client.response())[0] == 101
    return upgraded(relay, client)


def upgraded(relay: RelayInSubprocess, client: HttpClient) -> Peer:
    """The connection behind its 101."""
    return relay.own(Peer(client.reader, client.writer))


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_what_comes_behind_the_head_comes_first_and_whole(secure: bool) -> None:
    async with workers(secure=secure, limits={"message_bytes": 400_000}) as relay:
        first = await relay.binary()
        acceptor = 1 - await only_owner(relay)
        for size in BEHIND:
            said = os.urandom(size // 2).hex().encode()
            frames = client_frame(b"1") + client_frame(b'"' + said + b'"')
            phone = await handed_over(relay, "client", acceptor, behind=frames)
            phone.send_text("2")
            for expected in (b"1", b'"' + said + b'"', b"2"):
                envelope = await first.text()
                assert envelope.endswith(b'"frame":' + expected + b"}")
            first.send_text(envelope)
            assert await phone.text() == b"2"
            await phone.say_goodbye()
            assert (await first.json())["close_code"] == 1000
        await first.say_goodbye()
        await relay.until(lambda: relay.value("connected_binaries") == 0)
        for size in BEHIND:
            envelope = b'{"conn_id":"x","frame":"' + b"y" * size + b'"}'
            frames = client_frame(envelope) + client_frame(b"then", PING)
            binary = await handed_over(relay, "server", acceptor, behind=frames)
            frame = await binary.frame()
            assert (frame.opcode, frame.payload) == (PONG, b"then")
            await binary.say_goodbye()
        down = {"direction": "binary_to_phone", "reason": "no_peer"}
        assert relay.value("frames_dropped_total", **down) == len(BEHIND)
        assert relay.value("worker_connections", worker=str(acceptor)) == 0


async def many_at(relay: RelayInSubprocess, acceptor: int) -> list[HttpClient]:
    """Connections that ``acceptor`` has accepted, and no request yet."""
    found: list[HttpClient] = []
    while len(found) < MANY:
        more = {port_of(client): client for client in [await relay.http() for _ in range(MANY)]}
        new = set(more)
        await relay.until(lambda new=new: new <= relay.ports_at(*relay.workers))
        found += [more[port] for port in new & relay.ports_at(acceptor)]
    return found[:MANY]


@pytest.mark.slow
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_who_waits_for_an_owner_is_adopted_when_it_comes_and_503_when_it_dies(
    secure: bool,
) -> None:
    async with workers(secure=secure, limits={"phones": MANY}) as relay:
        first = await relay.binary()
        owner = await only_owner(relay)
        for ending in (signal.SIGCONT, signal.SIGKILL):
            clients = await many_at(relay, 1 - owner)
            os.kill(relay.workers[owner], signal.SIGSTOP)
            stopped_at = time.perf_counter()
            for client in clients:
                ask(client, "client", "s1")
            # A request that waits for a place to be handed over counts here until it is sent.
            await relay.until(lambda: relay.value("worker_connections", worker=str(1 - owner)) == 6)
            seconds = time.perf_counter() - stopped_at
            os.kill(relay.workers[owner], ending)
            answers = [await client.response() for client in clients]
            if ending is signal.SIGCONT:
                assert {status for status, _, _ in answers} == {101}
                took = relay.value("upgrade_duration_seconds_sum", endpoint="client")
                assert took >= MANY * seconds  # from the accept on, not from the handing over
                phone = upgraded(relay, clients[-1])
                await Pair("s1", owner, first, phone).converse(b"1")
            else:
                refusals = {(status, headers["retry-after"]) for status, headers, _ in answers}
                assert refusals == {(503, "2")}
                assert relay.value("refusals_total", reason="owner_away") == MANY
