"""Who sends as fast as it can has its turn, and so have all others."""

import asyncio
import contextlib
import itertools

from fastrelay.loop.fair_reads import BUFFER_BYTES, FairReader, FairScheduler
from tests.support.certificates import local_certificate
from tests.support.harness import RunningRelay, running_relay
from tests.support.key_updates import TalkativeClient
from tests.support.peer import PONG, TEXT, Peer, client_frame, request, upgrade_headers

TINY = client_frame(b"1")
MANY = 30_000


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
        while turns[-1] < MANY:
            await asyncio.sleep(0)
            turns.append(received(relay))
        assert max(b - a for a, b in itertools.pairwise(turns)) < MANY / 4
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
    async with running_relay(limits={"useless_frames": 100_000}) as relay:
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


# -- the scheduler alone ---------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Transport:
    reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False


class Reader(FairReader):
    """Takes pieces of 1,000 bytes, each of which costs ``seconds`` on the test's clock."""

    def __init__(self, clock: Clock, scheduler: FairScheduler, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self._paused = False
        self._quota = scheduler.first
        self._scheduler = scheduler
        self._transport = Transport()  # type: ignore[assignment]
        self.processed = 0

    @property
    def receive_buffer(self) -> memoryview:
        return self._scheduler.whole

    def kept_changed(self, size: int) -> None: ...

    def process_piece(self, data: memoryview, position: int) -> int:
        self._clock.now += self._seconds
        self.processed += 1
        return min(position + 1000, len(data))

    def read(self) -> None:
        """As much as the quota allows, if it is read at all."""
        if self._transport.reading:  # type: ignore[attr-defined]
            self._scheduler.read(self, len(self._quota))


async def test_the_next_quota_is_what_the_last_read_makes_of_a_quantum() -> None:
    clock = Clock()
    scheduler = FairScheduler(clock=clock, wall=clock)
    cheap, dear = Reader(clock, scheduler, 1e-6), Reader(clock, scheduler, 5e-4)
    for reader in (cheap, dear):
        for _ in range(10):
            reader.read()
            await asyncio.sleep(0)
    assert len(cheap._quota) == BUFFER_BYTES
    assert len(dear._quota) in range(1000, 3000)


async def test_a_read_that_turns_out_to_be_dear_is_stopped_and_what_is_left_is_kept() -> None:
    clock = Clock()
    scheduler = FairScheduler(clock=clock, wall=clock)
    reader = Reader(clock, scheduler, 1e-6)
    while len(reader._quota) < BUFFER_BYTES:
        reader.read()
        await asyncio.sleep(0)
    reader.processed, reader._seconds = 0, 4e-4
    reader.read()
    assert reader.processed == 3
    assert scheduler.kept_bytes == BUFFER_BYTES - 3000
    assert not reader._transport.reading  # type: ignore[attr-defined]
    while scheduler.kept_bytes:
        await asyncio.sleep(0)
    assert reader.processed == BUFFER_BYTES // 1000 + 1


class Elsewhere(Clock):
    """The clock of a thread that is not running: whatever passes, others have used it."""

    asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return 0.0


async def test_a_cheap_read_that_is_short_of_its_quota_never_asks_the_clock_of_the_thread() -> None:
    wall, thread = Clock(), Elsewhere()
    scheduler = FairScheduler(clock=thread, wall=wall)
    reader = Reader(wall, scheduler, 1e-5)
    scheduler.read(reader, 15_000)
    assert reader.processed == 15
    assert not thread.asked


async def test_time_that_others_have_used_makes_nobody_heavy() -> None:
    wall, thread = Clock(), Elsewhere()
    scheduler = FairScheduler(clock=thread, wall=wall)
    reader = Reader(wall, scheduler, 2e-3)
    scheduler.read(reader, 15_000)
    assert reader.processed == 15
    assert thread.asked
    assert not len(scheduler)


async def test_what_a_transport_passes_on_never_overtakes_a_kept_remainder() -> None:
    """As of TLS: what came behind a handshake is passed on although reading is paused."""
    clock = Clock()
    scheduler = FairScheduler(clock=clock, wall=clock)
    seen = bytearray()

    class Noting(Reader):
        def process_piece(self, data: memoryview, position: int) -> int:
            end = super().process_piece(data, position)
            seen.extend(data[position:end])
            return end

    reader = Noting(clock, scheduler, 2e-3)
    sent = bytes(range(256)) * 40
    for position in range(0, len(sent), 2560):
        scheduler.whole[:2560] = sent[position : position + 2560]
        scheduler.process(reader, 2560)
    assert scheduler.keeps(reader)
    while scheduler.keeps(reader):
        await asyncio.sleep(0)
    assert seen == sent
    assert not scheduler.kept_bytes


async def test_a_dear_read_that_is_one_piece_is_measured_when_it_comes_again() -> None:
    clock = Clock()
    scheduler = FairScheduler(clock=clock, wall=clock)
    reader = Reader(clock, scheduler, 5e-3)
    scheduler.read(reader, 1000)
    assert not len(scheduler)
    scheduler.read(reader, min(1000, len(reader._quota)))
    assert len(scheduler)


async def test_all_heavy_connections_share_one_slice_and_have_turns_in_rotation() -> None:
    clock = Clock()
    scheduler = FairScheduler(0.003, clock=clock, wall=clock)
    readers = [Reader(clock, scheduler, 1.5e-3) for _ in range(20)]
    for reader in readers:
        reader.read()
    turns: list[int] = []
    for _ in range(40):
        before, began = [reader.processed for reader in readers], clock.now
        await asyncio.sleep(0)
        assert clock.now - began < 0.006
        for number, reader in enumerate(readers):
            turns += [number] * (reader.processed - before[number])
    counts = [turns.count(number) for number in range(20)]
    assert max(counts) - min(counts) <= 1


async def test_dear_reads_behind_cheap_ones_keep_within_the_slice() -> None:
    clock = Clock()
    scheduler = FairScheduler(0.003, clock=clock, wall=clock)
    readers = [Reader(clock, scheduler, 1e-9) for _ in range(60)]
    for _ in range(10):
        for reader in readers:
            reader.read()
        await asyncio.sleep(0)
    assert all(len(reader._quota) == BUFFER_BYTES for reader in readers)
    for reader in readers:
        reader._seconds = 5e-4
    for _ in range(40):
        began = clock.now
        for reader in readers:
            reader.read()
        await asyncio.sleep(0)
        assert clock.now - began < 0.003 + 0.003 + 2 * 0.0015


async def test_a_connection_that_ends_leaves_nothing_behind() -> None:
    clock = Clock()
    scheduler = FairScheduler(clock=clock, wall=clock)
    reader = Reader(clock, scheduler, 2e-3)
    reader.read()
    assert scheduler.kept_bytes
    assert len(scheduler) == 1
    scheduler.discard(reader)
    assert scheduler.kept_bytes == len(scheduler) == 0


async def test_a_paused_connection_keeps_what_was_read_until_it_is_read_again() -> None:
    clock = Clock()
    scheduler = FairScheduler(clock=clock, wall=clock)
    reader = Reader(clock, scheduler, 2e-3)
    reader.read()
    reader._paused = True
    for _ in range(5):
        await asyncio.sleep(0)
    assert reader.processed == 1
    reader._paused = False
    assert not scheduler.may_read(reader)
    while scheduler.kept_bytes:
        await asyncio.sleep(0)
    assert reader._transport.reading  # type: ignore[attr-defined]
    assert scheduler.may_read(reader)
