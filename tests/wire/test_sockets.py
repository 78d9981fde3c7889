"""What the relay asks the kernel about a connection, and by which descriptor."""

import gc
import os
import socket

import pytest

from tests.support.certificates import local_certificate
from tests.support.harness import running_relay
from tests.support.peer import PING, PONG, client_frame


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("secure", [False, True])
async def test_a_descriptor_is_not_used_when_it_belongs_to_another_one(secure: bool) -> None:
    async with running_relay(tls=local_certificate() if secure else None) as relay:
        binary = await relay.binary()
        (connection,) = relay.relay.live
        descriptor = connection._sock.fileno()
        assert connection.tcp_bytes() is not None
        assert not connection.peer_has_left()
        await binary.close()
        await relay.until(lambda: not len(relay.relay.live) and connection._sock.fileno() < 0)
        others = []
        while not is_open(descriptor):  # the lowest number that is free is taken first
            others.append(await relay.binary(f"s{len(others) + 2}"))
        assert connection.tcp_bytes() is None
        assert connection.unacknowledged() == 0
        assert connection.peer_has_left()


async def test_the_kernel_holds_few_bytes_of_a_connection_that_are_not_sent() -> None:
    async with running_relay() as relay:
        await relay.binary()
        (connection,) = relay.relay.live
        kept = connection._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        assert 0 < kept <= 128 * 1024


async def test_a_transport_makes_no_socket_object_of_its_own() -> None:
    async with running_relay(intervals={"ping": 0.03}) as relay:
        for peer in (await relay.binary(), await relay.phone()):
            while (frame := await peer.frame()).opcode != PING:
                pass
            peer.send(client_frame(frame.payload, PONG))
        made = {
            thing.fileno() for thing in gc.get_objects() if type(thing).__name__ == "PseudoSocket"
        }
        own = {connection._sock.fileno() for connection in relay.relay.live}
        assert len(own) == 2
        assert not made & own
