"""The floor in Python: bytes from one socket to another on uvloop, with no idea what they are."""

import asyncio
import sys
from typing import Any

import uvloop

BUFFER = memoryview(bytearray(256 * 1024))


class End(asyncio.BufferedProtocol):
    """One end of a pipe."""

    other: "End"

    def __init__(self, transport: Any = None) -> None:
        self.transport = transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.other.transport.write(bytes(BUFFER[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.other.transport.close()


class Front(asyncio.Protocol):
    """A connection that was accepted and has no other end yet."""

    def __init__(self, backend: int) -> None:
        self._backend = backend
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._joining = asyncio.get_running_loop().create_task(self._join())

    def data_received(self, data: bytes) -> None:
        self._early += data

    async def _join(self) -> None:
        near, far = End(self._transport), End()
        near.other, far.other = far, near
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: far, "127.0.0.1", self._backend)
        far.transport.write(self._early)
        self._transport.set_protocol(near)


async def main(port: int, backend: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(backend), "127.0.0.1", port)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
