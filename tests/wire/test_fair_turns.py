"""Who sends as fast as it can has its turn, and so have all others."""

import asyncio
import contextlib
import itertools

from fastrelay.loop.fair_reads import BUFFER_BYTES, LONGEST_READ, SMALL_READ, ReceiveBuffer
from tests.support.certificates import local_certificate
from tests.support.harness import SECURE, RunningRelay, running_relay
from tests.support.key_updates import TalkativeClient
from tests.support.peer import PONG, TEXT, Peer, client_frame, request, upgrade_headers

TINY = client_frame(b"1")
MANY = 30_000
A_RECORD = 16 * 1024
"""What a TLS record may hold: it is decrypted as a whole."""


def received(relay: RunningRelay) -> int:
    """Frames of phones that the relay has taken so far; cheap enough to be asked every turn."""
    return relay.relay.router.context.counters.frames.phone_to_binary.received


async def take(binary: Peer, messages: int) -> None:
    """Read as many from the binary's side; their order is that of the wire."""
    for _ in range(messages):
        assert (await binary.text()).endswith(b'"frame":1}')


async def test_a_flood_of_tiny_messages_is_taken_in_turns_and_loses_nothing() -> None:
    async with running_relay() as relay:
        binary, phone = await relay.binary(), await relay.phone()
        taking = asyncio.create_task(take(binary, MANY))
        phone.send(TINY * MANY)
        turns = [received(relay)]
        a_turn = (SMALL_READ + A_RECORD * SECURE.get()) // len(TINY) + 1
        while turns[-1] < MANY:
            await asyncio.sleep(0)
            turns.append(received(relay))
        assert max(b - a for a, b in itertools.pairwise(turns)) <= a_turn
        await taking


async def test_a_conversation_goes_on_beside_a_flood() -> None:
    async with running_relay() as relay:
        binary, flooder = await relay.binary(), await relay.phone()
        other_binary, other = await relay.binary("s2"), await relay.phone("s2")
        taking = asyncio.create_task(take(binary, MANY))
        flooder.send(TINY * MANY)
        other.send_text("2")
        assert (await other_binary.json())["frame"] == 2
        assert received(relay) < MANY / 2
        await taking


async def test_fragments_and_control_frames_have_their_turns_as_well() -> None:
    async with running_relay() as relay:
        binary, flooder = await relay.binary(), await relay.phone()
        other_binary, other = await relay.binary("s2"), await relay.phone("s2")
        empty = client_frame(b"", 0, fin=False) + client_frame(b"", PONG)
        begin, end = client_frame(b"[", TEXT, fin=False), client_frame(b"]", 0)
        flooder.send(begin + empty * 8000 + end)  # one read of the whole room
        other.send_text("2")
        assert (await other_binary.json())["frame"] == 2
        assert received(relay) == 1
        assert (await binary.json())["frame"] == []


async def test_a_peer_that_is_closed_in_its_turn_is_not_read_again() -> None:
    async with running_relay() as relay:
        await relay.binary()
        phone = await relay.phone()
        phone.send(TINY * MANY + client_frame(b"no json") + TINY * MANY)
        assert (await phone.closed())[0] == 1007
        assert await phone.at_eof()
        await relay.until(lambda: relay.live == 1)


async def test_of_a_pipeline_one_request_is_served_in_a_turn() -> None:
    async with running_relay() as relay:
        client = await relay.http()
        client.send(request("/healthz") * 90)
        served = [0]
        while served[-1] < 90:
            await asyncio.sleep(0)
            served += [protocol._requests for protocol in relay.relay.pending._connections] or [0]
        assert max(b - a for a, b in itertools.pairwise(served)) == 1
        for _ in range(90):
            assert (await client.response())[0] == 200


async def test_keys_that_change_without_end_have_their_turns_as_well() -> None:
    async with running_relay(tls=local_certificate()) as relay:
        binary = await relay.binary()
        other_binary, other = await relay.binary("s2"), await relay.phone("s2")
        client = TalkativeClient(relay.port)
        with contextlib.closing(client.sock):
            await asyncio.to_thread(client.shake_hands)
            headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"}
            head = client.encrypted(request("/v1/client", upgrade_headers(headers)))
            client.sock.sendall(head)
            await relay.until(lambda: relay.value("connected_phones") == 2)
            client.sock.sendall(client.key_updates(4000) + client.encrypted(TINY))
            other.send_text("2")
            assert (await other_binary.json())["frame"] == 2
            assert received(relay) == 1
            assert (await binary.json())["frame"] == 1


def test_what_takes_long_gets_a_smaller_quota() -> None:
    buffer = ReceiveBuffer()
    assert len(buffer.whole) == BUFFER_BYTES
    assert len(buffer.small) == SMALL_READ
    assert buffer.next_quota(BUFFER_BYTES, LONGEST_READ * 0.9) is buffer.whole
    assert buffer.next_quota(BUFFER_BYTES, LONGEST_READ * 1.1) is buffer.small
    # By what a read of the whole room would take.
    share = LONGEST_READ * SMALL_READ / BUFFER_BYTES
    assert buffer.next_quota(SMALL_READ, share * 0.9) is buffer.whole
    assert buffer.next_quota(SMALL_READ, share * 1.1) is buffer.small
