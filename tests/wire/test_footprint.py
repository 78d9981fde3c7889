"""What an idle connection keeps alive: nothing of how it came in."""

import gc

import h11
import pytest

from fastrelay.http.connection import HttpProtocol
from fastrelay.websocket.connection import Connection
from tests.support.harness import SECURE, running_relay


def alive(kind: type) -> int:
    """Objects of that type that something still refers to."""
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


@pytest.mark.parametrize("secure", [False, True])
async def test_the_head_parser_goes_with_the_upgrade(secure: bool) -> None:
    SECURE.set(secure)
    before = alive(Connection), alive(HttpProtocol), alive(h11.Connection)
    async with running_relay() as relay:
        await relay.binary()
        await relay.phone()
        assert alive(Connection) == before[0] + 2
        assert (alive(HttpProtocol), alive(h11.Connection)) == before[1:]


async def test_phones_share_the_server_id_of_their_binary() -> None:
    async with running_relay() as relay:
        await relay.binary()
        for _ in range(2):
            await relay.phone()
        handlers = [connection._handler for connection in relay.relay.live]
        assert len(handlers) == 3
        assert len({id(handler.server_id) for handler in handlers}) == 1


async def test_tls_connections_share_what_is_the_same_for_all() -> None:
    SECURE.set(True)
    async with running_relay() as relay:
        await relay.binary()
        await relay.phone()
        layers = [connection._transport for connection in relay.relay.live]
        assert len(layers) == 2
        assert len({id(layer._quota) for layer in layers}) == 1
        assert [layer._client for layer in layers] == ["", ""]
