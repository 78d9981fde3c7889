"""TLS as a thin layer between a plain transport and the protocol above it.

To the plain transport it is the protocol, to the protocol above the transport, so HTTP and
WebSocket know nothing of it. OpenSSL works on memory; since everything here is synchronous, all
connections of a relay share one pair of memory BIOs and the buffer of :class:`TlsBuffers`, and an
idle connection holds little but its keys. ``bench/experiments/tls_layer.py`` compares it with
uvloop's own.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Any, Final, cast

from fastrelay.net.tls.certificates import Certificates
from fastrelay.turns import Rooms, TurnTaker

_PLAINTEXT_BYTES: Final = 16 * 1024
"""For protocols that bring no buffer of their own: one record (RFC 8446 §5.1)."""

_HANDSHAKE_RECORD: Final = 0x16
"""What the first byte of a TLS connection is (RFC 8446 §5.1)."""

_UNGREETED, _SHAKING, _OPEN, _ENDED = range(4)


class TlsBuffers:
    """What all TLS connections of one loop share.

    It works because of three rules. What OpenSSL says is written out before anybody else is
    called: a protocol above may make another connection speak, and that one would send it. What
    it leaves unread is taken back before the next connection is read, whatever has happened. And
    nobody's goodbye looks for an answer in what somebody else has received.
    """

    def __init__(self) -> None:
        self.rooms = Rooms()
        self.plain = memoryview(bytearray(_PLAINTEXT_BYTES))
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()


class TlsLayer(TurnTaker, asyncio.Transport):
    """One connection's TLS, server side.

    The protocol above is connected as soon as the plain transport is, so that its deadline for a
    request head counts from the accept and covers the handshake. Until there is a certificate the
    client is not read.

    Args:
        inner: the protocol above.
        certificates: what is shown to the client.
        buffers: shared with all others of this loop.
    """

    __slots__ = (
        "_buffered",
        "_buffers",
        "_certificates",
        "_held",
        "_inner",
        "_paused",
        "_room",
        "_state",
        "_tls",
        "_transport",
    )

    def __init__(
        self, inner: asyncio.BaseProtocol, certificates: Certificates, buffers: TlsBuffers
    ) -> None:
        self._buffers = buffers
        self._certificates = certificates
        self._tls: Any = None  # an ssl.SSLObject, as soon as there is a certificate
        self._held = b""
        self._paused = False
        self._room = buffers.rooms.narrow
        self._state = _UNGREETED
        self.set_protocol(inner)

    # -- towards the plain transport: its protocol -----------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the interface, but not the base class.
        self._transport = cast("asyncio.Transport", transport)
        context = self._certificates.context
        if context is None:
            self._certificates.waiting[self] = None
        else:
            self._wrap(context)
        self._inner.connection_made(self)

    def begin(self, context: ssl.SSLContext) -> None:
        """There is a certificate now: let the handshake begin."""
        self._wrap(context)
        if self._held:
            self.resume_reading()

    def _wrap(self, context: ssl.SSLContext) -> None:
        shared = self._buffers
        self._tls = context.wrap_bio(shared.incoming, shared.outgoing, server_side=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = _ENDED
        self._certificates.waiting.pop(self, None)
        self._inner.connection_lost(exc)

    def eof_received(self) -> None:
        """TCP ended, with a goodbye or without: the peer is gone, and the transport closes."""
        cast("asyncio.Protocol", self._inner).eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def buffer_updated(self, nbytes: int) -> None:
        if nbytes < len(self._room):
            self._take_read(nbytes)
        else:
            self._room_filled(self._buffers.rooms, nbytes)

    def _take_read(self, nbytes: int) -> None:
        self._take(self._room[:nbytes])

    # -- incoming --------------------------------------------------------------------------------

    def _take(self, ciphertext: memoryview | bytes) -> None:
        if self._state == _ENDED:
            return
        if self._held:
            ciphertext = self._held + ciphertext
            self._held = b""
        if self._tls is None:
            self._held = bytes(ciphertext)
            self.pause_reading()
            return
        incoming = self._buffers.incoming
        incoming.write(ciphertext)
        try:
            if self._state != _OPEN:
                self._shake_hands(ciphertext[0])
            self._decrypt()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.eof_received()
            self.close()
        except ssl.SSLError:
            self._fail()
        finally:
            if incoming.pending:
                self._held = incoming.read()

    def _shake_hands(self, first: int) -> None:
        """Begin the handshake or go on with it.

        Raises:
            ssl.SSLError: it is not done yet, or will never be.
        """
        if self._state == _UNGREETED and first != _HANDSHAKE_RECORD:
            self._state = _ENDED
            self._transport.abort()  # clear text: not even an alert
            return
        self._state = _SHAKING
        try:
            self._tls.do_handshake()
        finally:
            self._flush()
        self._state = _OPEN

    def _decrypt(self) -> None:
        """Pass on what there is, as many records at once as the protocol above has room for.

        Raises:
            ssl.SSLError: a record is not whole yet, the peer said goodbye, or broke the protocol.
        """
        incoming = self._buffers.incoming
        more = incoming.pending or self._tls.pending()
        while more and self._state == _OPEN and not self._paused:
            inner: Any = self._inner
            room = inner.get_buffer(-1) if self._buffered else self._buffers.plain
            left, fault = self._fill(room)
            filled = len(room) - left
            if filled and self._buffered:
                inner.buffer_updated(filled)
            elif filled:
                inner.data_received(bytes(room[:filled]))
            if fault is not None:
                raise fault
            # Of a record that did not fit, OpenSSL keeps the rest.
            more = incoming.pending or not left

    def _fill(self, room: memoryview) -> tuple[int, ssl.SSLError | None]:
        """Decrypt into ``room`` till it is full or nothing is left: bytes free, and what was wrong.

        OpenSSL may have had to say something itself: an alert, a new key.
        """
        read, incoming = self._tls.read, self._buffers.incoming
        left = len(room)
        try:
            while left:
                count = read(left, room[-left:])
                if not count:
                    return left, ssl.SSLZeroReturnError()
                left -= count
                if not incoming.pending:
                    break
        except ssl.SSLError as fault:
            return left, fault
        finally:
            self._flush()
        return left, None

    def _fail(self) -> None:
        """End behind the alert that OpenSSL has written, if it has."""
        self._state = _ENDED
        self._transport.close()

    def pause_reading(self) -> None:
        """Stop reading; what has come already waits as ciphertext."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, what has waited first."""
        self._paused = False
        self._transport.resume_reading()
        if self._held or (self._state == _OPEN and self._tls.pending()):
            asyncio.get_running_loop().call_soon(self._take_held)

    def _take_held(self) -> None:
        if not self._paused:
            held, self._held = self._held, b""
            self._take(held)

    # -- outgoing --------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; what is said after the end is dropped, as by any transport."""
        if self._state == _OPEN and data:
            try:
                self._tls.write(data)
            finally:
                self._flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt and send as one run of records: a copy costs less than a record a piece."""
        self.write(b"".join(list_of_data))

    def _flush(self) -> None:
        outgoing = self._buffers.outgoing
        if outgoing.pending:
            self._transport.write(outgoing.read())

    def write_eof(self) -> None:
        """Say goodbye (RFC 8446 §6.1) and end our side of TCP; what still comes is thrown away."""
        self._say_goodbye()
        self._transport.write_eof()

    def close(self) -> None:
        """Say goodbye, send what waits, and close."""
        self._say_goodbye()
        self._transport.close()

    def abort(self) -> None:
        """Close at once, without a word."""
        self._state = _ENDED
        self._transport.abort()

    def _say_goodbye(self) -> None:
        if self._state == _OPEN:
            incoming = self._buffers.incoming
            unread = incoming.read()  # by whoever is being read just now
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()  # it wants to hear the peer's, which we do not wait for
            incoming.write(unread)
            self._flush()
        self._state = _ENDED

    # -- the rest of a transport's interface, as far as it is used ------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol above, from the next byte on."""
        self._inner = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def is_closing(self) -> bool:
        """Whether it has been closed or is about to be."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the plain transport knows."""
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Bytes of ciphertext that the kernel has not taken."""
        return self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol above is asked to pause; in bytes of ciphertext."""
        self._transport.set_write_buffer_limits(high, low)
