"""Peers that behave: a daemon that echoes, and its phones, which check every byte."""

import asyncio
import random
import re
import ssl
from collections import deque

from bench.soak.tally import Tally
from bench.support.client import Client, Over, Refused
from bench.support.wire import binary_handshake, phone_handshake

_ENVELOPE = re.compile(rb'\{"conn_id":"([^"]+)","frame":')
_SIZES = (1, 2, 60, 125, 126, 300, 4_000, 65_535, 65_536, 200_000)
_WEIGHTS = (4, 8, 30, 8, 8, 30, 8, 1, 1, 1)
_IN_FLIGHT = 8
PATIENCE = 30.0
"""Seconds after which a frame that has not come counts as lost."""


async def dial(
    port: int, handshake: bytes, tally: Tally, tls: ssl.SSLContext | None = None
) -> Client:
    """An honest connection; its attempt is counted."""
    client = await Client.dial(port, tls=tls)
    try:
        await client.upgrade(handshake)
    except Refused as refused:
        tally.answered[refused.status] += 1
        await client.drop()
        raise
    tally.answered[101] += 1
    return client


class Household:
    """One honest daemon and its phones, which talk until told to stop.

    Args:
        rate: messages a second, of each phone.
    """

    def __init__(
        self,
        port: int,
        server_id: str,
        phones: int,
        rate: float,
        tally: Tally,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._port = port
        self._server_id = server_id
        self._phones = phones
        self._pause = 1 / rate
        self._tally = tally
        self._tls = tls
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Send no more; what is on its way is still waited for."""
        self._stopping.set()

    async def run_for(self, seconds: float) -> None:
        """Connect, talk for so long, say goodbye."""
        running = asyncio.create_task(self.run())
        await asyncio.sleep(seconds)
        self.stop()
        await running

    async def run(self) -> None:
        """Connect, talk until stopped, say goodbye."""
        daemon = await dial(self._port, binary_handshake(self._server_id), self._tally, self._tls)
        echo = asyncio.create_task(self._echo(daemon))
        await asyncio.gather(*(self._talk(number) for number in range(self._phones)))
        daemon.send_close(1000)
        await asyncio.wait({echo})
        await daemon.drop()

    async def _echo(self, daemon: Client) -> None:
        """Give every frame back to the phone it came from."""
        try:
            while True:
                message = await daemon.message()
                if _ENVELOPE.match(message):
                    daemon.send(message)
        except Over as over:
            if not self._stopping.is_set():
                self._tally.fault(f"{self._server_id}: its daemon was closed with {over.code}")

    async def _talk(self, number: int) -> None:
        """One phone: up to eight messages on their way, every answer checked in order."""
        chance = random.Random(f"{self._server_id}-{number}")
        phone = await dial(self._port, phone_handshake(self._server_id), self._tally, self._tls)
        due: deque[bytes] = deque()
        sending = asyncio.create_task(self._send(phone, due, chance, number))
        try:
            while not (sending.done() and not due):
                async with asyncio.timeout(PATIENCE if due else 1.0):
                    self._check(await phone.message(), due)
        except TimeoutError:
            if due:
                self._tally.lost += len(due)
                self._tally.fault(f"{self._server_id}/{number}: {len(due)} frames did not come")
        except Over as over:
            self._tally.lost += len(due)
            self._tally.fault(f"{self._server_id}/{number}: closed with {over.code}")
        sending.cancel()
        await asyncio.wait({sending})
        await phone.goodbye(4000)

    async def _send(
        self, phone: Client, due: deque[bytes], chance: random.Random, number: int
    ) -> None:
        serial = 0
        while not self._stopping.is_set():
            await asyncio.sleep(self._pause * chance.uniform(0.5, 1.5))
            if len(due) < _IN_FLIGHT:
                serial += 1
                (size,) = chance.choices(_SIZES, _WEIGHTS)
                message = _message(f"{number}-{serial}-", size)
                due.append(message)
                phone.send(message)

    def _check(self, message: bytes, due: deque[bytes]) -> None:
        expected = due.popleft() if due else b""
        if message == expected:
            self._tally.checked += 2  # there and back
        else:
            self._tally.fault(f"{self._server_id}: {message[:60]!r} instead of {expected[:60]!r}")


def _message(label: str, size: int) -> bytes:
    """A JSON value of ``size`` bytes, as far as possible unlike any other."""
    if size < len(label) + 2:
        return b"7" * size
    return b'"%b%b"' % (label.encode(), b"x" * (size - 2 - len(label)))
