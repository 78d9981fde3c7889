"""Claims, registrations, grace and replacement over real sockets (protocol, registry)."""

import asyncio
import json
import urllib.request

from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import PING, PONG, Peer, client_frame

ATTEMPTS = "ws_upgrade_attempts_total"


async def health(relay: RunningRelay) -> tuple[int, int]:
    """Connected binaries and phones as /healthz tells them."""
    url = f"{relay.url.replace('ws', 'http', 1)}/healthz"
    body = await asyncio.to_thread(
        lambda: urllib.request.urlopen(url, timeout=10, context=relay.tls).read()
    )
    counts = json.loads(body)
    return counts["connected_binaries"], counts["connected_phones"]


async def conn_id_of(phone: Peer, binary: Peer) -> str:
    phone.send_text("0")
    conn_id = (await binary.json())["conn_id"]
    assert isinstance(conn_id, str)
    return conn_id


async def answer_ping(peer: Peer) -> None:
    """The next frame is a ping; answer it."""
    ping = await peer.frame()
    assert ping.opcode == PING
    peer.send(client_frame(ping.payload, PONG))


async def test_a_phone_without_a_binary_is_refused() -> None:
    async with running_relay() as relay:
        phone = await relay.phone()
        assert await phone.closed() == (4404, "no server with that id")
        assert await phone.at_eof()
        assert await health(relay) == (0, 0)
        assert relay.value(ATTEMPTS, endpoint="client", outcome="reject_404") == 1
        assert len(relay.log_of("phone_register_no_server")) == 1


async def test_the_seventeenth_phone_is_refused() -> None:
    async with running_relay() as relay:
        binary = await relay.binary()
        phones = [await relay.phone() for _ in range(16)]
        assert await (await relay.phone()).closed() == (4429, "too many phones for server-id")
        assert await health(relay) == (1, 16)
        assert relay.value(ATTEMPTS, endpoint="client", outcome="reject_429") == 1
        assert len(relay.log_of("phone_register_at_cap")) == 1
        conn_id = await conn_id_of(phones[0], binary)
        await phones[0].say_goodbye()
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1000}
        await conn_id_of(await relay.phone(), binary)  # the place is free again


async def test_a_live_incumbent_keeps_its_server_id() -> None:
    async with running_relay() as relay:
        incumbent, phone = await relay.binary(), await relay.phone()
        newcomer = await relay.binary()
        await answer_ping(incumbent)
        assert await newcomer.closed() == (4409, "server-id already claimed")
        assert relay.value(ATTEMPTS, endpoint="server", outcome="reject_409") == 1
        assert len(relay.log_of("server_id_conflict")) == 1
        await conn_id_of(phone, incumbent)
        assert await health(relay) == (1, 1)


async def test_release_keeps_phones_and_takes_new_ones() -> None:
    async with running_relay() as relay:
        binary, early = await relay.binary(), await relay.phone()
        await binary.say_goodbye()
        await relay.until(lambda: relay.log_of("server_released"))
        late = await relay.phone()
        await relay.until(lambda: len(relay.log_of("phone_registered")) == 2)
        assert await health(relay) == (0, 2)
        for phone in (early, late):
            phone.send_text("1")
            assert await phone.closed() == (1000, "")
        assert len(relay.log_of("phone_forwarder_no_binary")) == 2
        assert (
            relay.value("frames_dropped_total", direction="phone_to_binary", reason="no_peer") == 2
        )


async def test_reclaim_in_grace_evicts_the_phones_of_the_old_binary() -> None:
    async with running_relay() as relay:
        old = await relay.binary()
        phones = [await relay.phone() for _ in range(3)]
        await old.close()
        await relay.until(lambda: relay.log_of("server_released"))
        phones.append(await relay.phone())
        new = await relay.binary()
        for phone in phones:
            assert await phone.closed() == (4404, "binary reclaimed server-id")
        assert await health(relay) == (1, 0)
        phone = await relay.phone()
        await conn_id_of(phone, new)  # no notice of any evicted phone came before
        # The old grace period has no timer any more: the only ones are of the two that are there.
        await relay.until(lambda: relay.live == 2)
        assert relay.timers == relay.periodic_tasks + 2
        assert relay.value(ATTEMPTS, endpoint="server", outcome="accept") == 2


async def test_grace_expiry_closes_the_phones_and_frees_the_server_id() -> None:
    async with running_relay(intervals={"grace": 0.02}) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        await binary.close()
        assert await phone.closed() == (1000, "")
        assert relay.value("grace_expiries_total") == 1
        assert await health(relay) == (0, 0)
        assert await (await relay.phone()).closed() == (4404, "no server with that id")
        await conn_id_of_new_pair(relay)


async def conn_id_of_new_pair(relay: RunningRelay) -> None:
    binary, phone = await relay.binary(), await relay.phone()
    await conn_id_of(phone, binary)


async def test_grace_of_an_empty_server_id_counts_too() -> None:
    async with running_relay(intervals={"grace": 0.02}) as relay:
        await (await relay.binary()).close()
        await relay.until(lambda: relay.value("grace_expiries_total") == 1)


async def test_server_ids_do_not_mix() -> None:
    async with running_relay() as relay:
        pairs = [(await relay.binary(name), await relay.phone(name)) for name in ("a", "b")]
        for name, (binary, phone) in zip("ab", pairs, strict=True):
            phone.send_json(name)
            assert (await binary.json())["frame"] == name
