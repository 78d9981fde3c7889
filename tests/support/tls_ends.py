"""TLS connections of one loop without sockets, each with a client of its own at the other end.

The layers share what those of a relay share. The clients share nothing: two have Python's ``ssl``,
a third makes its records by hand. So each can say whether it was sent what was meant for it.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any

from fastrelay.loop.fair_reads import FIRST_QUOTA, FairReader
from fastrelay.net.tls.buffers import TlsBuffers
from fastrelay.net.tls.certificates import Certificates
from fastrelay.net.tls.layer import TlsLayer
from tests.support.certificates import authority, local_certificate
from tests.support.clock import Loop
from tests.support.record_session import Session, session


class TurnLoop(Loop):
    """A loop whose turns come when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self._soon: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        self._soon.append(lambda: callback(*arguments))

    def turn(self) -> bool:
        """Call what was to be called soon; whether there was anything."""
        due, self._soon = self._soon, []
        for callback in due:
            callback()
        return bool(due)


class SslClient:
    """A peer that keeps to the rules."""

    def __init__(self, version: ssl.TLSVersion) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context(version).wrap_bio(
            self._incoming, self._outgoing, server_hostname="127.0.0.1"
        )

    def begin(self) -> bytes:
        """The first flight."""
        return self._step()

    def _step(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()

    def shake(self, ciphertext: bytes) -> bytes:
        """The next flight."""
        self._incoming.write(ciphertext)
        return self._step()

    def encrypt(self, data: bytes) -> bytes:
        """Records for these."""
        self._tls.write(data)
        return self._outgoing.read()

    def decrypt(self, ciphertext: bytes) -> bytes:
        """What these mean; raises if they are no records for this connection."""
        self._incoming.write(ciphertext)
        heard = b""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while data := self._tls.read(65536):
                heard += data
        return heard


class RecordClient:
    """A peer that may send anything."""

    def __init__(self, version: str) -> None:
        self.tls: Session = session(version)
        self.begin = self.tls.begin
        self.shake = self.tls.receive
        self.encrypt = self.tls.application

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Like that of :class:`SslClient`."""
        self.tls.receive(ciphertext)
        heard = bytes(self.tls.plain)
        self.tls.plain.clear()
        return heard


@cache
def _context(version: ssl.TLSVersion) -> ssl.SSLContext:
    made = authority().context()
    made.minimum_version = made.maximum_version = version
    return made


@cache
def certificates() -> Certificates:
    """The relay's."""
    made = Certificates()
    made.install(local_certificate().certificate, local_certificate().key)
    return made


class Wire(asyncio.Transport):
    """A plain transport that keeps what is written; the kernel may stop taking it.

    Attributes:
        taken: ciphertext that the client has not been given yet.
        waiting: ciphertext that the kernel has not taken.
    """

    def __init__(self, loop: TurnLoop) -> None:
        super().__init__()
        self.layer: Any = None
        self.taken = self.waiting = b""
        self.stuck = self.paused = self.closing = False
        self._loop = loop

    def write(self, data: Any) -> None:
        if self.closing:
            return
        if self.stuck:
            was_free = not self.waiting
            self.waiting += bytes(data)
            if was_free:
                self.layer.pause_writing()
        else:
            self.taken += bytes(data)

    def take_again(self) -> None:
        """The kernel takes what waits, and more."""
        self.stuck = False
        waiting, self.waiting = self.waiting, b""
        self.taken += waiting
        if waiting and not self.closing:
            self.layer.resume_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self._loop.call_soon(self.layer.connection_lost, None)

    abort = close

    def write_eof(self) -> None: ...


class Above:
    """What a protocol above has seen, and what it is to do when it sees more."""

    seen = b""

    def __init__(self) -> None:
        self.reactions: list[Callable[[], object]] = []

    def saw(self, data: bytes) -> None:
        self.seen += data
        if self.reactions:
            self.reactions.pop(0)()

    def connection_made(self, transport: object) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def eof_received(self) -> None: ...


class AboveByCopy(Above, asyncio.Protocol):
    """Is given its data, as HTTP is."""

    def data_received(self, data: bytes) -> None:
        self.saw(data)


class AboveInRoom(Above, FairReader):
    """Reads from the room that all share, as a WebSocket does."""

    def __init__(self, room: memoryview) -> None:
        super().__init__()
        self._shared = room

    @property
    def receive_buffer(self) -> memoryview:
        return self._shared

    def hold_undecrypted(self, size: int) -> None: ...

    def process_read(self, nbytes: int) -> None:
        self.saw(bytes(self._shared[:nbytes]))


class End:
    """One connection that has shaken hands.

    Attributes:
        outbox: the client's ciphertext that has not arrived yet.
        said, written: plaintext of the client's and of the protocol's above.
        understood: plaintext that the client made of what was written to it.
        ended: it was closed from above.
    """

    def __init__(
        self, client: SslClient | RecordClient, above: Any, buffers: TlsBuffers, loop: TurnLoop
    ) -> None:
        self.client, self.above = client, above
        self._buffer = buffers.ciphertext
        self.wire = Wire(loop)
        self.layer = self.wire.layer = TlsLayer(above, certificates(), buffers, "192.0.2.1")
        self.layer.connection_made(self.wire)
        self.outbox = client.begin()
        self.said = self.written = self.understood = b""
        self.ended = False
        while self.outbox:
            self.arrive(len(self.outbox))
            taken, self.wire.taken = self.wire.taken, b""
            self.outbox = client.shake(taken)

    def arrive(self, size: int) -> None:
        """Let the layer read as many bytes as it is willing to read."""
        while size and self.outbox and not self.wire.paused and not self.wire.closing:
            # Not as large as the time of the last read would have it: an input does the same twice.
            self.layer._quota = self._buffer if size > FIRST_QUOTA else self._buffer[:FIRST_QUOTA]
            room = self.layer.get_buffer(-1)
            data = self.outbox[: min(size, len(room))]
            self.outbox = self.outbox[len(data) :]
            size -= len(data)
            room[: len(data)] = data
            self.layer.buffer_updated(len(data))

    def write(self, data: bytes) -> None:
        """Let the protocol above write, if it has not closed."""
        if not self.ended and not self.wire.closing:
            self.written += data
            self.layer.write(data)

    def hear(self, size: int) -> None:
        """Give the client what was written to it."""
        data, self.wire.taken = self.wire.taken[:size], self.wire.taken[size:]
        self.understood += self.client.decrypt(data)

    def close(self) -> None:
        """Close from above."""
        self.ended = True
        self.layer.close()
