"""A relay without sockets, in which the transport of one chosen peer raises at its n-th call."""

import asyncio
import json
import socket
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from wsproto.frame_protocol import FrameDecoder

from fastrelay.config.settings import Address, Intervals, Limits, Settings
from fastrelay.http.connection import HttpProtocol, any_host
from fastrelay.log import Log
from fastrelay.loop.internal_errors import report
from fastrelay.metrics import make_metrics
from fastrelay.server.relay import Relay
from tests.support.clock import Loop
from tests.support.peer import CLOSE, PING, PONG, TEXT, client_frame, request, upgrade_headers


class Fault(Exception):
    """What the transport raises."""


class FaultyTransport:
    """Behaves like uvloop's transport, until the call that raises.

    Attributes:
        calls: how many there have been.
        stalled: the kernel takes nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, raise_at: int = 0) -> None:
        self.calls = 0
        self.stalled = False
        self.written = b""
        self.protocol: Any = None
        self.paused = False
        self._closing = self._lost = False
        self._loop = loop
        self._raise_at = raise_at
        self._waiting = b""

    def _called(self) -> None:
        self.calls += 1
        if self.calls == self._raise_at:
            raise Fault

    def write(self, data: Any) -> None:
        self._called()
        if self._closing:
            return
        if self.stalled:
            first, self._waiting = not self._waiting, self._waiting + bytes(data)
            if first:
                self.protocol.pause_writing()
        else:
            self.written += bytes(data)

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def go_on(self) -> None:
        """The kernel takes everything again."""
        self.stalled = False
        self.written += self._waiting
        waited, self._waiting = self._waiting, b""
        if waited and not self._lost:
            self.protocol.resume_writing()

    def set_protocol(self, protocol: Any) -> None:
        self._called()
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None:
        self._called()

    def get_write_buffer_size(self) -> int:
        self._called()
        return len(self._waiting)

    def get_extra_info(self, name: str) -> None:
        self._called()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._called()
        self.paused = True

    def resume_reading(self) -> None:
        self._called()
        self.paused = False

    def write_eof(self) -> None:
        self._called()

    def close(self) -> None:
        self._called()
        self._end()

    def abort(self) -> None:
        self._called()
        self._end()

    def _end(self) -> None:
        self._closing = True
        if not self.stalled:
            self._loop.call_soon(self.lose, None)

    def lose(self, exc: Exception | None = None) -> None:
        """The connection has gone."""
        if not self._lost:
            self._closing = self._lost = True
            self.protocol.connection_lost(exc)


class MemoryPeer:
    """The other end of one connection."""

    def __init__(self, transport: FaultyTransport, protocol: HttpProtocol) -> None:
        self.transport = transport
        transport.protocol = protocol
        protocol.connection_made(transport)  # type: ignore[arg-type]

    def receive(self, data: bytes) -> None:
        """Let the relay read ``data``, as uvloop does: what is raised ends the connection."""
        protocol = self.transport.protocol
        if self.transport.is_closing():
            return
        try:
            if isinstance(protocol, HttpProtocol):
                protocol.data_received(data)
            else:
                room = protocol.get_buffer(-1)
                room[: len(data)] = data
                protocol.buffer_updated(len(data))
        except Fault as error:
            report(error)
            self.transport.lose(error)

    def send(self, *messages: Any) -> None:
        """Messages in one read."""
        self.receive(b"".join(client_frame(json.dumps(message).encode()) for message in messages))

    def pong(self) -> None:
        """Echo the last ping."""
        pings = [payload for opcode, payload in self.frames() if opcode == PING]
        self.receive(client_frame(pings[-1] if pings else b"", PONG))

    def frames(self) -> list[tuple[int, bytes]]:
        """What was written to the peer behind the 101: opcodes and payloads."""
        _, _, rest = self.transport.written.partition(b"\r\n\r\n")
        decoder = FrameDecoder(client=True)
        decoder.receive_bytes(rest)
        found = []
        while frame := decoder.process_buffer():
            found.append((int(frame.opcode), bytes(frame.payload)))
        return found

    def messages(self) -> list[Any]:
        """The text messages that were written to the peer."""
        return [json.loads(payload) for opcode, payload in self.frames() if opcode == TEXT]

    def close_code(self) -> int | None:
        """That of the close frame written to the peer, if one was."""
        for opcode, payload in self.frames():
            if opcode == CLOSE:
                return int.from_bytes(payload[:2])
        return None


class MemoryRelay:
    """The relay's own code over faulty transports, with a clock that the test moves."""

    def __init__(self, **limits: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = Loop()
        self.lines: list[str] = []
        settings = Settings(
            listen=Address("127.0.0.1", 0),
            limits=replace(Limits(upgrade_burst=0), **limits),
            intervals=Intervals(drain=0.01, tick=0.125, newcomers=1000.0),
        )
        self.metrics = make_metrics()
        log = Log(self.lines.append, flood_interval=0.0)
        self.relay = Relay(settings, log, self.metrics)
        self.relay.wheel._loop = self.clock  # type: ignore[assignment]
        self.relay.wheel.now = self.clock.time()
        # No read is dear, however long the garbage collector or another process takes meanwhile.
        scheduler = self.relay.scheduler
        scheduler._clock = scheduler._wall = self.clock.time
        self.loop.set_exception_handler(self.relay.errors.from_loop)
        listeners = self.relay.listeners
        self._site = listeners._site(self.relay._routes(), self.relay.pending, any_host)
        self.stopped = False
        self._sockets = socket.socketpair()
        self.peers: list[MemoryPeer] = []

    def binary(self, server_id: str = "s1", raise_at: int = 0) -> MemoryPeer:
        """A binary that has sent its head."""
        return self._connect("/v1/server", server_id, {"X-Pyrycode-Version": "1"}, raise_at)

    def phone(self, server_id: str = "s1", raise_at: int = 0) -> MemoryPeer:
        """A phone that has sent its head."""
        return self._connect("/v1/client", server_id, {"X-Pyrycode-Token": "t"}, raise_at)

    def _connect(
        self, path: str, server_id: str, headers: dict[str, str], raise_at: int
    ) -> MemoryPeer:
        transport = FaultyTransport(self.loop, raise_at)
        peer = MemoryPeer(transport, HttpProtocol(self._site, "198.51.100.1", self._sockets[0]))
        self.peers.append(peer)
        peer.receive(request(path, upgrade_headers(headers | {"X-Pyrycode-Server": server_id})))
        return peer

    async def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, and what was called for the loop's next turn happen."""
        self.clock.advance(seconds)
        for _ in range(4):
            await asyncio.sleep(0)

    def log_of(self, event: str) -> list[str]:
        """The lines logged for one event."""
        return [line for line in self.lines if f" msg={event} " in line]

    def conn_id(self, binary: MemoryPeer, phone: MemoryPeer) -> str:
        """Let a phone say something, and look what the binary is told of it."""
        mark = self.peers.index(phone)
        phone.send({"peer": mark})
        named = [m["conn_id"] for m in binary.messages() if m.get("frame") == {"peer": mark}]
        return named[0] if named else "client-s1-gone"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self._end()
        finally:  # a socket left open would be the failure of a later test
            for sock in self._sockets:
                sock.close()

    async def _end(self) -> None:
        """All peers go; then nothing may be left."""
        for peer in self.peers:
            peer.transport.stalled = False
            peer.transport.lose()
        await self.turn(300.0)
        await self.turn(300.0)
        relay = self.relay
        self.frames_add_up()
        if self.stopped:
            return
        assert len(relay.live) == 0
        assert len(relay.pending) == 0
        assert len(relay.registry) == 0
        assert relay.registry.connected_binaries == relay.registry.connected_phones == 0
        assert relay.held.total == 0
        assert len(relay.wheel) == 0
        assert self.clock.pending == 0
        await relay.stop()

    def frames_add_up(self) -> None:
        """Each frame that came in was forwarded or dropped."""
        frames = self.metrics.counters.frames
        for counts in (frames.phone_to_binary, frames.binary_to_phone):
            dropped = counts.invalid + counts.no_peer + counts.backlog_full + counts.closing
            assert counts.received == counts.forwarded + dropped
