"""One connection's TLS without I/O: ciphertext in and plaintext out, and the other way round.

OpenSSL reads from one memory BIO and writes to another. All sessions of an event loop share one
pair, because a pair of BIOs never becomes smaller after a large read. Sharing is safe because of
one invariant: **outside the methods of this module both BIOs are empty.** OpenSSL may read the
incoming BIO whenever it is called, even to write: after the first bytes of a handshake message it
reads the rest of the message before it does anything else. If a session left bytes in the BIO,
another session could read them.

* :meth:`TlsSession.decrypt` puts no more ciphertext into the BIO than its buffer can hold as
  plaintext, and continues until OpenSSL has taken every byte. OpenSSL itself keeps the beginning of
  a record that is not complete yet.
* If OpenSSL fails, or memory cannot be allocated, the bytes that are left in the BIOs are
  discarded. The connection on which this happens is broken; no other connection is affected.
"""

import contextlib
import ssl
import sys
from enum import Enum
from typing import Any, Final

from fastrelay.net.tls.handshake_faults import fault_of
from fastrelay.policy.counters.refused import HandshakeFault

MAX_RECORD: Final = 16 * 1024 + 2048 + 5
"""Bytes of the longest record with its header (RFC 5246 §6.2.3; TLS 1.3 allows fewer)."""

PIECE_BYTES: Final = 16 * 1024
PIECE_RECORDS: Final = 128
"""One call decrypts this many bytes of any records, or more bytes of this many records. OpenSSL
does not return while it processes records without content, so their number is counted before."""

_UNKNOWN: Final = -1
_Bytes = memoryview | bytes
_RECORD_HEADER: Final = 5
_DISCARD_BYTES: Final = 256
"""Bytes read at once to empty a BIO: so few that the allocation succeeds without free memory."""

_MAX_RENEGOTIATIONS: Final = 1
"""Attempts that OpenSSL answers with a warning (RFC 5746 §4.5) before the connection ends."""


_RESERVE_BYTES: Final = 64 * 1024
"""More bytes than OpenSSL needs for a new session, and few enough to come from the same heap."""


class SharedBios:
    """The memory BIOs of all sessions of one loop; empty unless a session's method runs."""

    __slots__ = ("_reserve", "incoming", "outgoing")

    def __init__(self) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self._reserve: bytearray | None = None

    def wrap(self, context: ssl.SSLContext) -> Any:
        """A new session of OpenSSL, server side: what an ``ssl.SSLObject`` calls.

        The object around it would cost 80 bytes for the life of the connection, and a call of
        Python for each record.

        CPython (3.11 to 3.13) crashes when OpenSSL cannot allocate one, so memory for it is
        reserved, and freed just before.

        Raises:
            MemoryError: there is no memory to reserve.
        """
        if self._reserve is None:
            self._reserve = bytearray(_RESERVE_BYTES)
        self._reserve = None
        tls: Any = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self._reserve = bytearray(_RESERVE_BYTES)
        return tls._sslobj

    def discard(self) -> None:
        """Empty both BIOs."""
        for bio in (self.incoming, self.outgoing):
            while bio.pending:
                bio.read(_DISCARD_BYTES)


class End(Enum):
    """How the peer's half of a session ended."""

    CLOSED = "close_notify"
    FAILED = "fatal alert or broken record"


class TlsSession:
    """One connection's TLS, server side.

    Attributes:
        established: the handshake is complete.
        mid_record: a record has begun and has not ended, and OpenSSL keeps a buffer for it.
        mid_handshake: after the handshake, the peer has sent a part of a handshake message, and
            OpenSSL encrypts nothing before it gets the rest.
        output: what OpenSSL itself wrote during the last :meth:`decrypt` or a failed
            :meth:`encrypt`, to be sent before anything else: an alert or a key update.
        end: how the peer's half has ended, or why there was no handshake; ``None`` while the peer
            can be read.
    """

    __slots__ = (
        "_bios",
        "_lacking",
        "_may_renegotiate",
        "_renegotiations",
        "_tls",
        "end",
        "established",
        "mid_handshake",
        "mid_record",
        "output",
    )

    def __init__(self, context: ssl.SSLContext, bios: SharedBios) -> None:
        self._bios = bios
        # Of the record that has begun; _UNKNOWN if not even its header is whole.
        self._lacking = 0
        self._tls = bios.wrap(context)
        self._may_renegotiate = False
        self._renegotiations = 0
        self.end: End | HandshakeFault | None = None
        self.established = False
        self.mid_handshake = False
        self.mid_record = False
        self.output = b""

    def decrypt(self, ciphertext: _Bytes, buffer: memoryview) -> tuple[int, int]:
        """Decrypt received bytes, or the first of them.

        Returns the number of bytes of plaintext in ``buffer``, and the number of bytes of
        ``ciphertext`` that were used. The next call must begin with the bytes that were not used.

        Args:
            buffer: longer than :data:`PIECE_BYTES` and :data:`MAX_RECORD` together.

        Raises:
            MemoryError: the session is lost.
        """
        bios = self._bios
        incoming, read, size = bios.incoming, self._tls.read, len(buffer)
        filled, lacking, more = 0, 0, True
        self.output, self.mid_record = b"", False
        may_renegotiate = self._may_renegotiate
        if len(ciphertext) > PIECE_BYTES:
            ciphertext = self._first_piece(ciphertext, size - MAX_RECORD)
        try:
            incoming.write(ciphertext)
            if not self.established:
                self._do_handshake()
                more = incoming.pending > 0
            while more:
                count = read(size, buffer[filled:] if filled else buffer)
                if not count:
                    self.end = End.CLOSED
                    break
                filled += count
                more = incoming.pending > 0
            if may_renegotiate or self.mid_handshake:
                self._check_handshake()
        except ssl.SSLWantReadError:
            self.mid_record = True
            lacking = self._find_lacking(ciphertext)
            self._check_handshake()
        except ssl.SSLZeroReturnError:
            self.end = End.CLOSED
        except ssl.SSLError as error:
            self.end = End.FAILED if self.established else fault_of(error)
        except BaseException:
            bios.discard()
            raise
        if bios.outgoing.pending:
            self._take_output(may_renegotiate)
        if incoming.pending:
            bios.discard()  # bytes behind the end of the session
        self._lacking = lacking
        return filled, len(ciphertext)

    def _first_piece(self, ciphertext: _Bytes, most: int) -> _Bytes:
        """Those of more than :data:`PIECE_BYTES` bytes that are decrypted at once."""
        if self._lacking == _UNKNOWN:
            return ciphertext[:PIECE_BYTES]
        end, count = _skip_records(ciphertext, self._lacking, PIECE_RECORDS)
        return ciphertext[: min(end, most) if count == PIECE_RECORDS else most]

    def _find_lacking(self, ciphertext: _Bytes) -> int:
        """How many bytes the record lacks that these bytes leave unfinished."""
        if self._lacking == _UNKNOWN:
            return _UNKNOWN
        header_at, _ = _skip_records(ciphertext, self._lacking)
        return max(header_at - len(ciphertext), _UNKNOWN)

    def _do_handshake(self) -> None:
        """Go on with the handshake.

        Raises:
            ssl.SSLError: it is not done yet, or will never be.
        """
        self._tls.do_handshake()
        self.established = True
        self._may_renegotiate = self._tls.version() == "TLSv1.2"

    def _check_handshake(self) -> None:
        """Find out whether the peer is in the middle of a handshake message.

        TLS 1.3 encrypts the type of a record, so OpenSSL has to be asked. With TLS 1.3 that is only
        necessary after a read for which OpenSSL wanted more bytes. With TLS 1.2 it is necessary
        after each read, because data may follow a part of a ClientHello.
        """
        if not self.established:
            return
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.mid_handshake = True
        except ssl.SSLError:
            self.end = End.FAILED
        else:
            self.mid_handshake = False

    def _take_output(self, may_renegotiate: bool) -> None:
        try:
            self.output = self._bios.outgoing.read()
        except BaseException:
            self._bios.discard()
            raise
        if may_renegotiate and self.end is None:
            # All that a TLS 1.2 server says by itself while it reads are refusals to do so.
            self._renegotiations += _skip_records(self.output)[1]
            if self._renegotiations > _MAX_RENEGOTIATIONS:
                self.end = End.FAILED

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """The records for ``data``.

        Raises:
            ssl.SSLWantReadError: :attr:`mid_handshake`; nothing was taken.
            ssl.SSLError, MemoryError: the session is lost.
        """
        outgoing = self._bios.outgoing
        try:
            self._tls.write(data)
            return outgoing.read()
        except ssl.SSLWantReadError:
            self.mid_handshake = True
            self.output = outgoing.read()
            raise
        except BaseException:
            self._bios.discard()
            raise

    def close_notify(self) -> bytes:
        """The alert that ends the relay's half (RFC 8446 §6.1); empty if it cannot be sent now."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.shutdown()  # raises if the peer's close_notify has not come; no need to wait
        return self._bios.outgoing.read()


def _skip_records(
    ciphertext: _Bytes, header_at: int = 0, most: int = sys.maxsize
) -> tuple[int, int]:
    """Skip all records whose header is in ``ciphertext``, or the first ``most``.

    Returns the position behind them, which may be behind ``ciphertext``, and their number.
    """
    count, last = 0, len(ciphertext) - _RECORD_HEADER
    while header_at <= last and count < most:
        length = ciphertext[header_at + 3] << 8 | ciphertext[header_at + 4]
        header_at += _RECORD_HEADER + length
        count += 1
    return header_at, count
