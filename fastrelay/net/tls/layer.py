"""TLS as a thin layer between a plain transport and the protocol above it.

The layer is the protocol of the plain transport, and the transport of the protocol above, so HTTP
and WebSocket do not depend on it. :mod:`fastrelay.net.tls.session` calls OpenSSL;
``bench/experiments/tls_layer.py`` compares both with uvloop's own TLS.

Before the protocol above is called, OpenSSL has taken all bytes from the shared memory BIO. The
protocol may therefore write to any connection of the event loop, including its own.
"""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, Final, cast

from fastrelay.loop.fair_reads import LIGHT_BYTES, FairReader
from fastrelay.loop.internal_errors import report
from fastrelay.net.tls.buffers import TlsBuffers
from fastrelay.net.tls.certificates import Certificates
from fastrelay.net.tls.session import MAX_RECORD, PIECE_BYTES, End, TlsSession
from fastrelay.policy.counters.refused import HandshakeFault
from fastrelay.protocol.cause import Aborted, Cause

UNENCRYPTED: Final = "unencrypted"
"""For this name :meth:`TlsLayer.get_extra_info` returns how many bytes cannot be encrypted yet."""

_HANDSHAKE_RECORD: Final = 0x16
"""The first byte of a TLS connection (RFC 8446 §5.1)."""

_MAX_OWN_OUTPUT: Final = 64 * 1024
"""The most bytes of alerts and key updates that wait for a peer that does not read them."""

_NO_PROTOCOL: Final = asyncio.Protocol()

_EXPECT_CLIENT_HELLO, _HANDSHAKE, _OPEN, _ENDED = range(4)


class TlsLayer(FairReader, asyncio.Transport):
    """One connection's TLS, server side.

    The protocol above is connected as soon as the plain transport is, so that its deadline for a
    request head counts from the accept and covers the handshake. Until there is a certificate the
    client's bytes are kept, and it is not read further.

    While a peer has sent only a part of a handshake message, nothing can be encrypted for it,
    because OpenSSL needs the rest of the message first. Data that is written in this state is held
    as plaintext and counts as unsent. If the rest does not come in time, the connection is aborted
    (cause ``tls_stalled``).

    Args:
        inner: the protocol above.
        certificates: the certificate for the client.
        buffers: shared with all other TLS connections of the loop.
        client: the address whose handshakes are counted.
    """

    __slots__ = (
        *("_buffers", "_certificates", "_client", "_inner", "_kept", "_own_output"),
        *("_paused", "_plaintext", "_quota", "_reads_itself", "_session", "_state", "_transport"),
        *("_undecrypted", "_unencrypted", "wheel_tick", "why_lost"),
    )
    _kept: int

    def __init__(
        self,
        inner: asyncio.BaseProtocol,
        certificates: Certificates,
        buffers: TlsBuffers,
        client: str,
    ) -> None:
        self.why_lost: Exception | None = None  # or why it will be lost; None is no fault
        self._buffers = buffers
        self._certificates = certificates
        self._client = client
        self._own_output = 0
        self._paused = False
        self._quota = buffers.first
        self._session: TlsSession | None = None
        self._state = _EXPECT_CLIENT_HELLO
        self._undecrypted = b""
        self._unencrypted: bytearray | None = None
        self.wheel_tick = 0
        self.set_protocol(inner)

    # -- towards the plain transport: its protocol -----------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the interface, but not the base class.
        self._transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(self)
        context = self._certificates.context
        if context is None:
            self._certificates.waiting[self] = None
        else:
            self.begin(context)

    def begin(self, context: ssl.SSLContext) -> None:
        """Begin the handshake, because there is a certificate now."""
        try:
            self._session = TlsSession(context, self._buffers.bios)
            undecrypted, self._undecrypted = self._undecrypted, b""
            if undecrypted:
                self.resume_reading()
                self._take(undecrypted)
        except Exception as error:
            report(error)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_handshake(HandshakeFault.CLOSED)
        self._state = _ENDED
        self._certificates.waiting.pop(self, None)
        self._buffers.wheel.cancel(self)
        self._buffers.scheduler.discard(self)
        # Break the reference cycle, because old objects are excluded from garbage collection.
        inner = self._inner
        self.set_protocol(_NO_PROTOCOL)
        self.why_lost = self.why_lost or exc
        inner.connection_lost(self.why_lost)

    def eof_received(self) -> bool | None:
        """The peer has ended TCP, with or without a close_notify; returns whether to stay open."""
        return cast("asyncio.Protocol", self._inner).eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._own_output = 0
        if self._unencrypted is None:
            self._inner.resume_writing()

    def buffer_updated(self, nbytes: int) -> None:
        if nbytes < LIGHT_BYTES:
            self._take(self._quota[:nbytes])
        else:
            self._buffers.scheduler.read(self, nbytes)

    # -- incoming --------------------------------------------------------------------------------

    @property
    def receive_buffer(self) -> memoryview:
        whole = self._buffers.ciphertext
        return whole[: self._inner.most_read] if self._reads_itself else whole

    def process_piece(self, data: memoryview, position: int) -> int:
        return position + self._take(data[position:] if position else data)

    def _take(self, ciphertext: memoryview | bytes) -> int:
        """Decrypt some of these bytes and pass the plaintext on; returns how many were taken."""
        taken = len(ciphertext)
        if self._state == _ENDED:
            return taken
        if self._session is None:
            self._undecrypted += bytes(ciphertext)
            self.pause_reading()
        elif self._state == _EXPECT_CLIENT_HELLO and ciphertext[0] != _HANDSHAKE_RECORD:
            self._buffers.handshake_failed(self._client, HandshakeFault.NOT_TLS)
            self.abort()  # the peer does not use TLS, so it gets no alert
        elif self._state < _OPEN:
            has_asked = bool(self._undecrypted)
            self._undecrypted += bytes(ciphertext)
            if not has_asked:
                self._ask_for_turn()
        else:
            taken = self._decrypt(self._session, ciphertext)
            self.kept_changed(0)
        return taken

    def kept_changed(self, size: int) -> None:
        kept = size + len(self._undecrypted)
        if self._session is not None and self._session.mid_record:
            kept += MAX_RECORD
        if kept != self._kept and self._reads_itself and self._state != _ENDED:
            self._kept = kept
            self._inner.hold_undecrypted(kept)

    def _ask_for_turn(self) -> None:
        """Go on with the handshake as soon as there is time for it, which may be now.

        An address that makes too many is dropped first, without an alert: it costs one accept.
        """
        is_first = self._state == _EXPECT_CLIENT_HELLO
        if is_first and not self._buffers.may_shake_hands(self._client):
            self.abort()
        elif not self._buffers.newcomers.run(self._shake_hands):
            self._transport.pause_reading()
            self._buffers.newcomers.queue(self._turn_has_come)

    def _shake_hands(self) -> None:
        """Go on with the handshake, and with what the peer has sent behind it."""
        session, data, self._undecrypted = self._session, self._undecrypted, b""
        while data and session is not None and self._state < _OPEN:
            data = data[self._decrypt(session, data) :]
        if self._state == _OPEN:
            self._client = ""  # it was for handshakes that fail
            if data:
                self._buffers.scheduler.keep(self, data)
            else:
                self.kept_changed(0)

    def _turn_has_come(self) -> None:
        if self._state == _ENDED:
            return
        try:
            if not self._paused and self._buffers.scheduler.may_read(self):
                self._transport.resume_reading()
            self._shake_hands()
        except Exception as error:
            report(error)
            self.abort()

    def _decrypt(self, session: TlsSession, ciphertext: memoryview | bytes) -> int:
        plaintext = self._plaintext
        try:
            count, taken = session.decrypt(ciphertext, plaintext)
        except MemoryError:
            self._fail()
            raise
        self._state = _OPEN if session.established else _HANDSHAKE
        if session.output:
            self._send_own_output(session.output)
        if session.mid_handshake or self.wheel_tick:
            self._check_stall(session)
        if count and self._reads_itself:
            self._inner.process_read(count)
        elif count:
            self._inner.data_received(bytes(plaintext[:count]))
        if session.end is not None:
            self._see_end()
        return taken

    def _see_end(self) -> None:
        """Close after flushing if the peer has sent a close_notify, or its stream is broken.

        A protocol that has paused reading learns of a close_notify when it reads again, like a FIN.
        """
        end = self._session and self._session.end
        if end is None or self._state == _ENDED:
            return
        self._end_handshake(end if isinstance(end, HandshakeFault) else HandshakeFault.CLOSED)
        if end is not End.CLOSED:
            self._fail()
        elif not self._paused and not self.eof_received():
            self.close()

    def _end_handshake(self, fault: HandshakeFault) -> None:
        """The connection ends: if that is within the handshake, it has failed."""
        if self._state == _HANDSHAKE:
            self._buffers.handshake_failed(self._client, fault)

    def _fail(self) -> None:
        """Close behind the alert that OpenSSL has written, if there is one."""
        self._state = _ENDED
        self.why_lost = Aborted(Cause.TLS_FAILED)
        self._unencrypted = None
        self._transport.close()
        self.eof_received()

    def _send_own_output(self, output: bytes) -> None:
        """Send what OpenSSL writes by itself: alerts and key updates."""
        self._transport.write(output)
        if not self._transport.get_write_buffer_size():
            return
        self._own_output += len(output)
        if self._own_output > _MAX_OWN_OUTPUT:
            self.why_lost = Aborted(Cause.TLS_FAILED)
            self.abort()
        else:
            self._inner.pause_writing()  # the protocol above does not know of these bytes

    def pause_reading(self) -> None:
        """Stop reading; bytes that have been read already are kept as ciphertext."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again, after the ciphertext that was kept."""
        self._paused = False
        if self._session and self._session.end:
            asyncio.get_running_loop().call_soon(self._see_end)
        if self.wheel_tick:  # the rest of a handshake message was not read meanwhile
            self._buffers.wheel.after(self, self._buffers.stall)
        if self._buffers.scheduler.may_read(self):
            self._transport.resume_reading()

    # -- a peer inside a handshake message -------------------------------------------------------

    def _check_stall(self, session: TlsSession) -> None:
        """Start the timeout of a peer inside a handshake message, or resume writing."""
        wheel = self._buffers.wheel
        if session.mid_handshake:
            if not self.wheel_tick:
                wheel.after(self, self._buffers.stall)
            return
        wheel.cancel(self)
        held, self._unencrypted = self._unencrypted, None
        if held is not None:
            self.write(held)
            if not self.get_write_buffer_size():
                self._inner.resume_writing()

    def _hold(self, session: TlsSession, data: bytes | bytearray | memoryview) -> None:
        """Hold data that cannot be encrypted now."""
        if session.output:
            self._transport.write(session.output)
        self._check_stall(session)
        self._unencrypted = bytearray(data)
        self._inner.pause_writing()

    def on_timer(self) -> None:
        """The rest of the handshake message did not come in time."""
        if self._paused:
            self._buffers.wheel.after(self, self._buffers.stall)
            return
        self.why_lost = Aborted(Cause.TLS_STALLED)
        self.abort()

    # -- outgoing --------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; data written after the end is dropped, as by any transport."""
        session = self._session
        if self._state != _OPEN or session is None or not data:
            return
        if self._unencrypted is not None:
            self._unencrypted += data
            return
        try:
            self._transport.write(session.encrypt(data))
        except ssl.SSLWantReadError:
            self._hold(session, data)
        except ssl.SSLError:
            self._fail()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Join, encrypt and send: copying costs less than one record for each piece."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Send close_notify and end the relay's side of TCP; bytes that still come are dropped."""
        self._send_close_notify()
        self._transport.write_eof()

    def close(self) -> None:
        """Send close_notify behind everything that waits, and close."""
        self._send_close_notify()
        self._transport.close()

    def abort(self) -> None:
        """Close at once, without sending anything more."""
        self._end_handshake(HandshakeFault.UNFINISHED)
        self._state = _ENDED
        self._transport.abort()

    def _send_close_notify(self) -> None:
        """The end of both halves: nothing is kept for the peer any more."""
        if self._state == _OPEN and self._session is not None:
            alert = self._session.close_notify()
            if alert:
                self._transport.write(alert)
        self._state = _ENDED
        self._session, self._unencrypted, self._undecrypted = None, None, b""
        if self._kept:
            self._kept = 0
            self._inner.hold_undecrypted(0)

    # -- the rest of a transport's interface, as far as it is used ------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set the protocol above, for all bytes from now on."""
        self._inner: Any = protocol
        self._kept = 0
        self._reads_itself: bool = isinstance(protocol, FairReader)
        if isinstance(protocol, FairReader):
            self._plaintext = protocol.receive_buffer
            if len(self._quota) > protocol.most_read:
                self._quota = self._quota[: protocol.most_read]
        else:
            self._plaintext = self._buffers.plain
        assert len(self._plaintext) > PIECE_BYTES + MAX_RECORD

    def is_closing(self) -> bool:
        """Whether the plain transport is closed or closing."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The extra information of the plain transport, and :data:`UNENCRYPTED`."""
        if name == UNENCRYPTED:
            return len(self._unencrypted or b"")
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """The bytes that the kernel has not taken: ciphertext, and plaintext that is held."""
        held = self._transport.get_write_buffer_size()
        return held if self._unencrypted is None else held + len(self._unencrypted)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the protocol above is asked to pause, in bytes of ciphertext."""
        self._transport.set_write_buffer_limits(high, low)
