"""How much of a read TLS decrypts at once: large records together, small ones in parts."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.tls.session import PIECE_BYTES, PIECE_RECORDS, SharedBios, TlsSession
from tests.support.newcomers import unhurried_tls
from tests.support.record_keys import APPLICATION
from tests.support.record_session import LARGEST, Session13
from tests.support.tls_ends import AboveInRoom, End, RecordClient, TurnLoop, certificates

ROOM = memoryview(bytearray(256 * 1024))


def shaken() -> tuple[Session13, TlsSession]:
    """A client and a session that have shaken hands."""
    client, context = Session13(), certificates().context
    assert context is not None
    session = TlsSession(context, SharedBios())
    answer = client.begin()
    while answer:
        session.decrypt(answer, ROOM)
        answer = client.receive(session.output)
    assert session.established
    return client, session


def decrypt(session: TlsSession, ciphertext: bytes) -> tuple[list[int], bytes]:
    """The sizes of the pieces that ``ciphertext`` is taken in, and its plaintext."""
    sizes, plaintext = [], b""
    while ciphertext:
        count, taken = session.decrypt(ciphertext, ROOM)
        assert session.end is None
        sizes.append(taken)
        plaintext += ROOM[:count]
        ciphertext = ciphertext[taken:]
    return sizes, plaintext


def test_large_records_are_one_piece_wherever_reads_begin_and_end() -> None:
    client, session = shaken()
    said = bytes(range(256)) * 64 * 24
    stream, heard = client.application(said), b""
    third = len(stream) // 3
    for read in (stream[:third], stream[third : 2 * third], stream[2 * third :]):
        sizes, plaintext = decrypt(session, read)
        assert sizes == [len(read)]
        heard += plaintext
    assert heard == said


def one_byte(client: Session13) -> bytes:
    return client.record(APPLICATION, b"1")


@pytest.mark.parametrize("make", [one_byte, Session13.key_update])
def test_of_small_records_a_limited_number_is_one_piece(make: Callable[[Session13], bytes]) -> None:
    client, session = shaken()
    records = [make(client) for _ in range(10 * PIECE_RECORDS)]
    size, stream = len(records[0]), b"".join(records)
    session.decrypt(stream[: size - 1], ROOM)  # so that the first piece begins inside a record
    sizes, _ = decrypt(session, stream[size - 1 :])
    assert sizes[:2] == [1 + PIECE_RECORDS * size, PIECE_RECORDS * size]


def test_behind_a_part_of_a_header_pieces_are_small_until_a_read_ends_with_a_record() -> None:
    client, session = shaken()
    stream = client.application(b"x" * LARGEST * 8)
    record = len(stream) // 8
    decrypt(session, stream[: 2 * record + 3])
    sizes, _ = decrypt(session, stream[2 * record + 3 : 6 * record])
    assert sizes[:3] == [PIECE_BYTES] * 3
    sizes, _ = decrypt(session, stream[6 * record :])
    assert sizes == [2 * record]


class Charged(AboveInRoom):
    """A protocol that knows what it is charged for."""

    charge = 0

    def hold_undecrypted(self, size: int) -> None:
        self.charge = size


async def test_what_is_left_of_a_read_when_the_connection_is_paused_is_kept_and_charged() -> None:
    loop, client, above = TurnLoop(), RecordClient("1.3"), Charged(ROOM)
    buffers = unhurried_tls(TimerWheel(cast("asyncio.AbstractEventLoop", loop), 0.25), 30.0)
    end = End(client, above, buffers, loop)
    records = [client.tls.record(APPLICATION, b"1" * 200) for _ in range(300)]
    end.outbox = b"".join(records)
    above.reactions.append(end.layer.pause_reading)
    end.arrive(len(end.outbox))
    assert len(above.seen) == PIECE_RECORDS * 200
    assert above.charge == buffers.scheduler.kept_bytes == len(records[0]) * (300 - PIECE_RECORDS)
    end.layer.resume_reading()
    while buffers.scheduler.kept_bytes:
        await asyncio.sleep(0)
    assert len(above.seen) == 300 * 200
    assert above.charge == 0
