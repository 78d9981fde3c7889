"""One cell of the matrix: bulk over a slow line, and a small frame beside it."""

import asyncio
import contextlib
import json
import socket
import statistics
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from bench.lines.line import slow_line
from bench.support.client import Client, Over, Refused
from bench.support.generator import Failed
from bench.support.wire import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    binary_handshake,
    client_frame,
    next_frame,
    phone_handshake,
)

_ON_THE_WAY: Final = 3 * 1024 * 1024
"""Bytes sent to a slow phone that it has not received yet: less than its budget."""

_STREAM_LIMIT: Final = 16 * 1024
_SMALL_EVERY: Final = 0.3


class Cell(NamedTuple):
    """What is measured.

    Attributes:
        direction: ``down``: the phone is on the slow line; ``up``: the binary is.
        rate: bytes a second.
        round_trip: seconds.
        payload: bytes of a frame of the bulk.
    """

    direction: str
    rate: float
    round_trip: float
    payload: int


class Found(NamedTuple):
    """What came of it.

    Attributes:
        lived: seconds until the connection over the slow line ended; as long as was measured if
            it did not.
        survived: whether it did not.
        small: median seconds of the small frame. ``up``: from a sibling of the phone that floods
            to the binary. ``down``: from the slow phone's ping to its pong.
        largest: the longest of them, also of one that was still on its way at the end.
        throughput: bytes a second of payload that came over the slow line.
    """

    lived: float
    survived: bool
    small: float
    largest: float
    throughput: float


class _Slow:
    """The peer at the far end: it reads steadily, and notes what comes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.received = 0
        self.smalls: list[float] = []
        self.pending: dict[str, float] = {}

    async def read(self) -> None:
        """Until the connection is over."""
        reader, data = self._client._reader, bytearray(self._client._received)
        while more := await reader.read(_STREAM_LIMIT):
            data += more
            at = 0
            while (frame := next_frame(data, at)) is not None:
                opcode, begin, at = frame
                payload = bytes(data[begin:at])
                if opcode == CLOSE:
                    return
                self._take(opcode, payload)
            del data[:at]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._client.writer.write(client_frame(payload, PONG))
        elif opcode == PONG:
            # It answers the pings before its own as well (RFC 6455 §5.5.3).
            for name in list(self.pending):
                self._arrived(name)
                if name == payload.decode():
                    break
        elif opcode == TEXT:
            self.received += len(payload)
            if len(payload) < 200 and b'"small ' in payload:
                self._arrived(json.loads(payload)["frame"])

    def _arrived(self, name: str) -> None:
        if (sent_at := self.pending.pop(name, None)) is not None:
            self.smalls.append(time.monotonic() - sent_at)

    def longest(self) -> list[float]:
        """All times, with those still on their way as they are now."""
        now = time.monotonic()
        return self.smalls + [now - sent_at for sent_at in self.pending.values()]


async def measure(cell: Cell, port: int, seconds: float, server_id: str) -> Found:
    """Measure one cell on a relay that listens on all addresses.

    Raises:
        Failed: there is no line, or the relay refuses its peers.
    """
    with contextlib.ExitStack() as stack:
        line = stack.enter_context(slow_line(cell.rate, cell.round_trip))
        clients: list[Client] = []
        try:
            return await _measure(cell, await line.dial(port), port, seconds, server_id, clients)
        except (Over, Refused) as error:
            raise Failed(f"a peer could not join: {error!r}") from None
        finally:
            for client in clients:
                await client.drop()


async def _measure(
    cell: Cell,
    dialled: socket.socket,
    port: int,
    seconds: float,
    server_id: str,
    clients: list[Client],
) -> Found:
    far = Client(*await asyncio.open_connection(sock=dialled, limit=_STREAM_LIMIT))
    clients.append(far)
    near = await Client.dial(port)
    clients.append(near)
    slow = _Slow(far)
    if cell.direction == "down":
        await near.upgrade(binary_handshake(server_id))
        await far.upgrade(phone_handshake(server_id))
        far.send(b"0")
        conn_id = json.loads(await near.message())["conn_id"]
        others = [
            _answer(near),
            _bulk_down(near, slow, cell.payload, conn_id),
            _smalls(slow, _pinging(far)),
        ]
    else:
        await far.upgrade(binary_handshake(server_id))
        await near.upgrade(phone_handshake(server_id))
        honest = await Client.dial(port)
        clients.append(honest)
        await honest.upgrade(phone_handshake(server_id))
        others = [
            *(_answer(near), _answer(honest)),
            *(_bulk_up(near, cell.payload), _smalls(slow, _sending(honest))),
        ]
    began = time.monotonic()
    reading = asyncio.create_task(slow.read())
    tasks = [asyncio.create_task(other) for other in others]
    await asyncio.wait([reading], timeout=seconds)
    lived, survived = time.monotonic() - began, not reading.done()
    for task in (reading, *tasks):
        task.cancel()
    await asyncio.gather(reading, *tasks, return_exceptions=True)
    times = slow.longest()
    return Found(
        lived,
        survived,
        statistics.median(times) if times else 0.0,
        max(times, default=0.0),
        slow.received / lived,
    )


async def _answer(client: Client) -> None:
    with contextlib.suppress(Over):
        while True:
            await client.message()


async def _bulk_down(binary: Client, slow: _Slow, payload: int, conn_id: str) -> None:
    frame = client_frame(json.dumps({"conn_id": conn_id, "frame": "b" * (payload - 2)}).encode())
    sent = 0
    while True:
        if sent - slow.received > _ON_THE_WAY:
            await asyncio.sleep(0.01)
            continue
        binary.writer.write(frame)
        sent += payload
        await binary.writer.drain()


async def _bulk_up(phone: Client, payload: int) -> None:
    frame = client_frame(b'"' + b"b" * (payload - 2) + b'"')
    while True:
        phone.writer.write(frame)
        await phone.writer.drain()


async def _smalls(slow: _Slow, send: Callable[[str], None]) -> None:
    """Send a small frame again and again, each with a name of its own."""
    number = 0
    while True:
        await asyncio.sleep(_SMALL_EVERY)
        number += 1
        name = f"small {number}"
        slow.pending[name] = time.monotonic()
        send(name)


def _pinging(phone: Client) -> Callable[[str], None]:
    return lambda name: phone.writer.write(client_frame(name.encode(), PING))


def _sending(phone: Client) -> Callable[[str], None]:
    return lambda name: phone.send(json.dumps(name).encode())
