"""How long frames and upgrades take, as a scrape shows it."""

import time

import pytest

from fastrelay.policy.counters.frames import SAMPLE_EVERY, DirectionCounts
from fastrelay.policy.counters.histogram import Histogram
from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import Peer, client_frame, request, upgrade_headers

UP, DOWN = "phone_to_binary", "binary_to_phone"
PATIENT = {"phone_backlog_bytes": 2**30, "binary_backlog_bytes": 2**30}


class Clock:
    """What the relay measures durations with; it stands still until a test moves it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


@pytest.mark.parametrize(("seconds", "place"), [(-0.1, 0), (0.1, 0), (0.2, 1), (0.5, 1), (9.0, 2)])
def test_an_observation_falls_into_its_bucket(seconds: float, place: int) -> None:
    histogram = Histogram((0.1, 0.5))
    histogram.observe(seconds)
    assert [index for index, count in enumerate(histogram.counts) if count] == [place]
    assert histogram.total == max(0.0, seconds)


async def test_every_cell_is_there_from_the_first_scrape() -> None:
    async with running_relay() as relay:
        for direction in (UP, DOWN):
            assert transits(relay, direction) == (0, 0.0)
        for endpoint in ("server", "client"):
            assert upgrades(relay, endpoint) == (0, 0.0)
            name = "upgrade_duration_seconds_bucket"
            assert relay.value(name, endpoint=endpoint, le="+Inf") == 0


# -- frames ---------------------------------------------------------------------------------------


def transits(relay: RunningRelay, direction: str) -> tuple[float, float]:
    """How many reads were timed, and the seconds of all."""
    name = "frame_transit_seconds"
    labels = {"direction": direction}
    return relay.value(f"{name}_count", **labels), relay.value(f"{name}_sum", **labels)


def next_is_timed(counts: DirectionCounts) -> None:
    counts.sample_at = counts.received


async def joined(relay: RunningRelay, **windows: int) -> tuple[Peer, Peer, str]:
    binary = await relay.binary(window=windows.get("binary", 0))
    phone = await relay.phone(window=windows.get("phone", 0))
    phone.send_text("0")
    return binary, phone, (await binary.json())["conn_id"]


async def test_one_read_in_many_is_timed() -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        envelope = client_frame(b'{"conn_id":"%b","frame":1}' % conn_id.encode())
        for _ in range(2 * SAMPLE_EVERY):
            phone.send_text("1")
            await binary.json()
            binary.send(envelope)
            assert await phone.json() == 1
        for direction, frames in ((UP, 2 * SAMPLE_EVERY + 1), (DOWN, 2 * SAMPLE_EVERY)):
            count, seconds = transits(relay, direction)
            assert count == (frames + SAMPLE_EVERY - 1) // SAMPLE_EVERY
            assert 0 < seconds < 60


async def test_a_frame_that_waits_for_its_phone_is_in_transit(clock: Clock) -> None:
    async with running_relay(limits=PATIENT) as relay:
        binary, phone, conn_id = await joined(relay, phone=4096)
        phone.stop_reading()
        counts = relay.relay.router.context.counters.frames.binary_to_phone
        frames = await fill(relay, binary, conn_id)
        before = transits(relay, DOWN)
        next_is_timed(counts)
        binary.send_json({"conn_id": conn_id, "frame": "last"})
        await relay.until(lambda: counts.received == frames + 1)
        clock.now += 7.0
        assert transits(relay, DOWN) == before  # it is still there
        phone.read_on()
        while await phone.json() != "last":
            pass
        await relay.until(lambda: transits(relay, DOWN) == (before[0] + 1, before[1] + 7.0))


async def fill(relay: RunningRelay, binary: Peer, conn_id: str) -> int:
    """Send to a phone that does not read, until the relay holds frames; returns how many."""
    sent = 0
    while not relay.buffered:
        binary.send_json({"conn_id": conn_id, "frame": "x" * 50_000})
        await binary.writer.drain()
        sent += 1
    received = relay.relay.router.context.counters.frames.binary_to_phone
    await relay.until(lambda: received.received == sent)
    return sent


async def test_a_frame_that_is_dropped_has_no_time() -> None:
    async with running_relay(limits=PATIENT) as relay:
        binary, phone, conn_id = await joined(relay, phone=4096)
        phone.stop_reading()
        frames = await fill(relay, binary, conn_id)
        before = transits(relay, DOWN)
        counts = relay.relay.router.context.counters.frames.binary_to_phone
        next_is_timed(counts)
        binary.send_json({"conn_id": conn_id, "frame": "last"})
        await relay.until(lambda: counts.received == frames + 1)
        await phone.close()
        await relay.until(lambda: relay.live == 1)
        assert transits(relay, DOWN) == before
        assert relay.value("frames_dropped_total", direction=DOWN, reason="closing") > 0


async def test_a_frame_that_waits_for_its_binary_is_in_transit(clock: Clock) -> None:
    async with running_relay(limits=PATIENT) as relay:
        binary, phone, _ = await joined(relay, binary=4096)
        binary.stop_reading()
        counts = relay.relay.router.context.counters.frames.phone_to_binary
        sent = 1
        while not relay.binary_of("s1").connection.blocked:
            phone.send_text('"' + "x" * 50_000 + '"')
            await phone.writer.drain()
            sent += 1
        await relay.until(lambda: counts.received == sent)
        before = transits(relay, UP)
        next_is_timed(counts)
        phone.send_text('"last"')
        await relay.until(lambda: counts.received == sent + 1)
        clock.now += 7.0
        assert transits(relay, UP) == before
        binary.read_on()
        while (await binary.json())["frame"] != "last":
            pass
        await relay.until(lambda: transits(relay, UP) == (before[0] + 1, before[1] + 7.0))


@pytest.mark.parametrize("nothing", ["no envelope", '{"conn_id":"x","frame":1}', '{"conn_id":"x"}'])
async def test_what_goes_nowhere_has_no_time(nothing: str) -> None:
    async with running_relay() as relay:
        binary, phone, conn_id = await joined(relay)
        before = transits(relay, UP)
        next_is_timed(relay.relay.router.context.counters.frames.phone_to_binary)
        next_is_timed(relay.relay.router.context.counters.frames.binary_to_phone)
        binary.send_text(nothing)
        binary.send_json({"conn_id": conn_id, "frame": 1})
        assert await phone.json() == 1
        phone.send_text("no JSON")
        assert (await phone.closed())[0] == 1007
        assert transits(relay, UP) == before


# -- upgrades -------------------------------------------------------------------------------------


def upgrades(relay: RunningRelay, endpoint: str) -> tuple[float, float]:
    """How many requests an endpoint has answered, and the seconds of all."""
    name = "upgrade_duration_seconds"
    labels = {"endpoint": endpoint}
    return relay.value(f"{name}_count", **labels), relay.value(f"{name}_sum", **labels)


async def test_every_answer_of_an_endpoint_is_timed_and_nothing_else() -> None:
    limits = {"connections": 2, "upgrade_burst": 4, "upgrade_refill": 3600.0}
    async with running_relay(limits=limits) as relay:
        await relay.binary()
        await relay.phone()
        statuses = []
        for path in ("/v1/client", "/healthz", "/v1/client", "/v1/client", "/nothing"):
            client = await relay.http()
            client.send(request(path))
            statuses.append((await client.response())[0])
        assert statuses == [503, 200, 503, 429, 404]
        assert upgrades(relay, "server")[0] == 1
        assert upgrades(relay, "client")[0] == 4


async def test_an_upgrade_lasts_from_the_accept_to_the_status(clock: Clock) -> None:
    async with running_relay() as relay:
        client = await relay.http()
        await relay.until(lambda: relay.pending == 1)
        clock.now += 7.0  # a head that takes its time
        client.send(request("/v1/server", upgrade_headers()))
        assert (await client.response())[0] == 400
        assert upgrades(relay, "server") == (1, 7.0)


async def test_a_second_request_begins_where_the_first_has_ended(clock: Clock) -> None:
    async with running_relay() as relay:
        client = await relay.http()
        await relay.until(lambda: relay.pending == 1)
        for path, seconds in (("/healthz", 7.0), ("/v1/server", 2.0)):
            clock.now += seconds
            client.send(request(path, upgrade_headers()))
            await client.response()
        assert upgrades(relay, "server") == (1, 2.0)
