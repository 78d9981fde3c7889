"""One worker of two in the test's own loop, while the test speaks and acts for the other one."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from fastrelay.config.settings import Settings
from fastrelay.log import Log
from fastrelay.net import packets
from fastrelay.net.bound_sockets import BoundSockets, bind
from fastrelay.policy.counters.tallies import Tallies
from fastrelay.policy.ownership import owner_of
from fastrelay.policy.shared.connections import SharedConnections, Transfer
from fastrelay.policy.shared.layout import SharedState, size_of
from fastrelay.server.admitted import Role
from fastrelay.server.handed_over import HandedOver, decode, decode_answers, encode
from fastrelay.server.relay import Relay
from fastrelay.server.workers import Workers
from tests.support.certificates import authority
from tests.support.harness import settings_for
from tests.support.peer import TIMEOUT, HttpClient, open_http

HERE, OTHER = 0, 1
ACCEPT_TOKEN = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class OneOfTwo:
    """Worker 0, and what the test says and hears as worker 1.

    Attributes:
        errors: what the event loop was told that no part expects.
    """

    def __init__(self, settings: Settings) -> None:
        self.shared = SharedState(memoryview(bytearray(size_of(2))), 2)
        self.shared.initialise(b"k" * 16, 0.0)
        self.lines: list[str] = []
        self.machine = Workers(
            self.shared, HERE, settings, has_push=False, forward=lambda *wake: False
        )
        log = Log(self.lines.append, settings.log_level, flood_interval=0.0)
        self.relay = relay = Relay(settings, log, self.machine.counts, machine=self.machine)
        self.machine.attach(relay.live, relay.wheel, relay.pending, relay.scheduler, relay.held)
        relay.start(BoundSockets(bind(settings.listen)))
        self.counted = SharedConnections(self.shared.connections, OTHER, self.shared.keyed)
        self._buffer = packets.receive_buffer()
        self._is_secure = settings.tls is not None
        self._clients: list[HttpClient] = []
        self.connect()

    def connect(self) -> None:
        """Worker 1 has been started (again)."""
        outgoing, self.incoming = packets.packet_pair()
        incoming, self.outgoing = packets.packet_pair()
        self.machine.connect(OTHER, outgoing, incoming)

    @property
    def port(self) -> int:
        return self.relay.ports[0]

    @property
    def tallies(self) -> Tallies:
        return self.machine.counts.counters.tallies

    def id_of(self, worker: int) -> str:
        """A server-id that a worker owns."""
        names = (f"id{number}" for number in itertools.count())
        return next(name for name in names if owner_of(name, self.shared.keyed, 2) == worker)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                await asyncio.sleep(0)

    def keep_in_process(self, sent: int) -> None:
        """From the next accept on, the kernel takes about ``sent`` bytes for a peer, no more."""
        listener = self.relay.listeners._listeners[0]
        listener._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sent)

    async def http(self) -> HttpClient:
        client = await open_http(self.port, authority().client if self._is_secure else None)
        self._clients.append(client)
        return client

    # -- as worker 1 --------------------------------------------------------------------------

    async def _packet(self, sock: socket.socket) -> packets.Packet | None:
        async with asyncio.timeout(TIMEOUT):
            while True:
                try:
                    return packets.receive(sock, self._buffer)
                except BlockingIOError:
                    await asyncio.sleep(0.001)

    async def handed_over(self) -> tuple[HandedOver, packets.Packet]:
        """The next connection that worker 0 hands over."""
        packet = await self._packet(self.incoming)
        assert packet is not None
        return decode(packet.content), packet

    def answer(self, message: HandedOver | Transfer, *, adopted: bool) -> None:
        """Tell worker 0 what became of such a connection."""
        answers = [(adopted, message.place, message.number)]
        assert packets.send(self.incoming, msgspec.msgpack.encode(answers))

    def hand_over(self, server_id: str, *sockets: socket.socket) -> Transfer:
        """Hand a binary's connection to worker 0, with the descriptors of these sockets."""
        transfer = self.counted.begin(HERE, ["192.0.2.1"])
        assert transfer is not None
        message = HandedOver(
            place=transfer.place,
            number=transfer.number,
            until=asyncio.get_running_loop().time() + TIMEOUT,
            role=Role.BINARY,
            server_id=server_id,
            version="1",
            device_name="",
            client="192.0.2.1",
            accept_token=ACCEPT_TOKEN,
            initial_data=b"",
            started_at=0.0,
        )
        assert packets.send(
            self.outgoing, encode(message), tuple(sock.fileno() for sock in sockets)
        )
        return transfer

    async def answers(self) -> list[tuple[bool, int, int]]:
        """What worker 0 says of what was handed to it."""
        packet = await self._packet(self.outgoing)
        assert packet is not None
        return decode_answers(packet.content)

    async def stop(self) -> None:
        for client in self._clients:
            await client.close()
        self.machine.refuse_all()
        self.machine.close()
        await self.relay.stop()
        for sock in (self.incoming, self.outgoing):
            sock.close()


@asynccontextmanager
async def one_of_two(**changed: Any) -> AsyncIterator[OneOfTwo]:
    """See the module; settings are changed as by :func:`tests.support.harness.running_relay`."""
    settings = settings_for(workers=2, metrics_listen=None, **changed)
    worker = OneOfTwo(settings)
    try:
        yield worker
    finally:
        await worker.stop()
