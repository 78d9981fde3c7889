"""The drain of a relay with peers on it (protocol, limits; operations, signals)."""

import asyncio

import pytest

from tests.support.harness import running_relay
from tests.support.hurting import nothing_left


async def test_everybody_is_told_at_once_and_nothing_is_left() -> None:
    async with running_relay(intervals={"grace": 0.05}) as relay:
        peers = [await relay.binary()] + [await relay.phone() for _ in range(5)]
        visitor = await relay.http()
        draining = asyncio.create_task(relay.drain())
        for peer in reversed(peers):
            assert not draining.done()  # as long as one is left that has not answered
            assert await peer.closed() == (1001, "shutting down")
            assert await peer.at_eof()
        assert await visitor.at_eof()
        await draining
        assert relay.live == 0
        await relay.close_clients()
        await nothing_left(relay)


async def test_no_new_connection_while_draining() -> None:
    async with running_relay() as relay:
        port = relay.port
        binary = await relay.binary()
        draining = asyncio.create_task(relay.drain())
        assert await binary.closed(answer=False) == (1001, "shutting down")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await binary.close()
        await draining


async def test_who_does_not_go_is_dropped_when_the_drain_is_over() -> None:
    async with running_relay(intervals={"drain": 0.05}) as relay:
        binary = await relay.binary()
        assert await asyncio.wait_for(relay.drain(), 5) is None
        assert relay.live == 1  # it has five seconds to answer, the drain has not
        await relay.relay.stop()
        assert relay.live == 0
        assert await binary.closed(answer=False) == (1001, "shutting down")
        assert await binary.at_eof()


async def test_a_stalled_phone_does_not_hold_up_the_drain_of_others() -> None:
    async with running_relay(intervals={"drain": 0.2}) as relay:
        binary, stalled = await relay.binary(), await relay.phone(window=4096)
        stalled.send_text("0")
        conn_id = (await binary.json())["conn_id"]
        stalled.stop_reading()
        for _ in range(50):
            binary.send_json({"conn_id": conn_id, "frame": "x" * 100_000})
        await relay.until(lambda: relay.buffered > 0)
        draining = asyncio.create_task(relay.drain())
        assert await binary.closed() == (1001, "shutting down")
        assert await binary.at_eof()
        await draining
