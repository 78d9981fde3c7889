"""The PROXY v2 header: read from a socket in any pieces, beside a parser of the specification."""

import asyncio
import errno
import ipaddress
import struct
from collections.abc import Callable
from typing import cast

from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.proxy_header import HeaderReader
from fastrelay.policy.pending import PendingConnections
from tests.fuzz.chunks import cut
from tests.support.clock import Loop

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
LONGEST = 16 * 1024
PLAN_BYTES = 2
WORDS = (
    *(SIGNATURE, SIGNATURE + b"\x21\x11\0\x0c", SIGNATURE + b"\x21\x21\0\x24", b"\x20\x11"),
    *(b"\x21\x31", b"\x21\x00", b"\x04\x00\x01a", b"\x03\xf0", b"\x04\x00", b"PROXY TCP4 "),
)


class Socket:
    """One that has received some bytes, in some pieces; then its peer hangs up, or it breaks."""

    def __init__(self, pieces: list[bytes], *, breaks: bool) -> None:
        self.read = 0
        self.closed = 0
        self._pieces = pieces
        self._breaks = breaks
        self._waits = False

    def recv(self, size: int) -> bytes:
        assert size > 0
        assert not self.closed
        self._waits = not self._waits
        if self._waits:
            raise BlockingIOError
        if not self._pieces:
            if self._breaks:
                raise ConnectionResetError(errno.ECONNRESET, "reset")
            return b""
        data = self._pieces[0][:size]
        self._pieces[0] = self._pieces[0][size:]
        if not self._pieces[0]:
            del self._pieces[0]
        self.read += len(data)
        return data

    def drop(self) -> None:
        self.closed += 1


class ReadingLoop(Loop):
    """A loop that watches one socket."""

    reader: Callable[[], None] | None = None

    def add_reader(self, sock: object, callback: Callable[[], None]) -> None:
        self.reader = callback

    def remove_reader(self, sock: object) -> None:
        self.reader = None


def one_input(data: bytes) -> None:
    """A byte says how the stream ends, two its pieces; the rest is what comes."""
    if len(data) < 1 + PLAN_BYTES:
        return
    plan, stream = data[1 : 1 + PLAN_BYTES], data[1 + PLAN_BYTES :]
    sock = Socket(list(cut(plan, stream)), breaks=bool(data[0] & 1))
    loop, pending, clients = ReadingLoop(), PendingConnections(9), []
    refused: list[str] = []
    wheel = TimerWheel(cast("asyncio.AbstractEventLoop", loop), 0.25)
    asyncio._set_running_loop(cast("asyncio.AbstractEventLoop", loop))
    try:
        HeaderReader(
            *(sock, "192.0.2.1", lambda _, client: clients.append(client)),  # type: ignore[arg-type]
            lambda peer, fault: refused.append(peer),
            *(wheel, 5.0, pending),  # type: ignore[arg-type]
        )
        assert len(pending) == len(wheel) == 1
        while loop.reader:
            loop.reader()
    finally:
        asyncio._set_running_loop(None)
    assert len(pending) == len(wheel) == 0
    expected = client_of(stream)
    if expected is None:
        assert (clients, sock.closed, refused) == ([], 1, ["192.0.2.1"])
        return
    client, length = expected
    assert (clients, sock.closed, refused) == ([client], 0, [])
    assert sock.read == length, "what follows the header is not ours to read"


def client_of(stream: bytes) -> tuple[str, int] | None:
    """Whose connection it is and how long the header was; ``None``: it is not to be believed."""
    if len(stream) < 16 or not stream.startswith(SIGNATURE):
        return None
    command, family, size = struct.unpack_from("!BBH", stream, 12)
    if command == 0x20 and size <= LONGEST - 16 and len(stream) >= 16 + size:
        return "192.0.2.1", 16 + size
    if command != 0x21:
        return None
    width = {0x11: 4, 0x21: 16}.get(family)
    if width is None or not 2 * width + 4 <= size <= LONGEST - 16 or len(stream) < 16 + size:
        return None
    source: ipaddress.IPv4Address | ipaddress.IPv6Address | None
    source = ipaddress.ip_address(stream[16 : 16 + width])
    if isinstance(source, ipaddress.IPv6Address):
        source = source.ipv4_mapped or source
    return str(source), 16 + size
