"""The client's side of TLS 1.2 and 1.3, made by hand and without a socket.

It does one handshake the plain way (x25519, AES-128-GCM, SHA-256, the certificate unverified: that
is what the other tests are for) and then gives its keys away, so that a test can send what no
library would: any record, half a handshake message, a renegotiation. What comes is decrypted and
sorted: application data, alerts, handshake messages; a KeyUpdate changes the keys.
"""

import hashlib
import os
import struct
from abc import ABC, abstractmethod

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tests.support.record_keys import (
    ALERT,
    APPLICATION,
    CHANGE_CIPHER,
    HANDSHAKE,
    KEY_BYTES,
    LEGACY_VERSION,
    SECRET_BYTES,
    Keys,
    Keys12,
    Keys13,
    expand_label,
    hmac_sha256,
    prf,
    record,
)

CLIENT_HELLO, SERVER_HELLO, SERVER_KEY, HELLO_DONE = 1, 2, 12, 14
CLIENT_KEY, FINISHED, KEY_UPDATE = 16, 20, 24
WARNING, FATAL = 1, 2
CLOSE_NOTIFY, NO_RENEGOTIATION = 0, 100
LARGEST = 16_384
"""Bytes of content a record may have (RFC 8446 §5.1)."""

_X25519 = b"\x00\x1d"
_SIGNATURES = b"\x04\x03\x08\x04\x05\x03\x08\x05"


def message(kind: int, body: bytes) -> bytes:
    """A whole handshake message."""
    return bytes([kind]) + len(body).to_bytes(3) + body


def extension(number: int, body: bytes) -> bytes:
    """One of a ClientHello's extensions."""
    return struct.pack("!HH", number, len(body)) + body


class Session(ABC):
    """One connection, from ClientHello on.

    Attributes:
        sending, receiving: the keys in use; ``None`` before there are any.
        done: the handshake is.
        plain: application data that has come and was not taken.
        alerts: level and description of each that has come.
        messages: the handshake messages that have come since the handshake.
        key_updates: how many of them changed the keys.
    """

    def __init__(self) -> None:
        self.sending: Keys | None = None
        self.receiving: Keys | None = None
        self._next_receiving: Keys | None = None
        self.done = False
        self.plain = bytearray()
        self.alerts: list[tuple[int, int]] = []
        self.messages: list[bytes] = []
        self.key_updates = 0
        self._private = X25519PrivateKey.generate()
        self._public = self._private.public_key().public_bytes_raw()
        self._random = os.urandom(32)
        self._transcript = b""
        self._wire = bytearray()
        self._handshake = bytearray()
        self._answer = b""

    # -- to be made by a version -----------------------------------------------------------------

    @abstractmethod
    def _extensions(self) -> bytes:
        """Of the ClientHello."""

    @abstractmethod
    def _suite(self) -> bytes: ...

    @abstractmethod
    def _on_handshake(self, kind: int, body: bytes, whole: bytes) -> None:
        """A message of the handshake; answers go to ``_answer``."""

    # -- records ---------------------------------------------------------------------------------

    def client_hello(self) -> bytes:
        """The message. It is also what a renegotiation begins with."""
        extensions = self._extensions()
        body = LEGACY_VERSION + self._random + b"\0" + struct.pack("!H", 2) + self._suite()
        return message(
            CLIENT_HELLO, body + b"\x01\x00" + struct.pack("!H", len(extensions)) + extensions
        )

    def begin(self) -> bytes:
        """The first flight."""
        self._transcript = hello = self.client_hello()
        return record(HANDSHAKE, hello)

    def record(
        self, content_type: int, data: bytes, *, padding: int = 0, outer: int | None = None
    ) -> bytes:
        """A protected record of any type and length, which the next one must follow."""
        assert self.sending is not None
        return self.sending.protect(content_type, data, padding=padding, outer=outer)

    def application(self, data: bytes) -> bytes:
        """Data as a peer that keeps to the rules sends it."""
        pieces = (data[at : at + LARGEST] for at in range(0, len(data), LARGEST))
        return b"".join(self.record(APPLICATION, piece) for piece in pieces)

    def alert(self, level: int, description: int) -> bytes:
        """An alert's record."""
        return self.record(ALERT, bytes([level, description]))

    def receive(self, data: bytes) -> bytes:
        """Take what came from the wire; returns what the handshake has to say to that.

        Raises:
            cryptography.exceptions.InvalidTag: it was not meant for this connection, or not in
                this order.
        """
        self._wire += data
        while len(self._wire) >= 5:
            (length,) = struct.unpack_from("!H", self._wire, 3)
            if len(self._wire) < 5 + length:
                break
            head, body = bytes(self._wire[:5]), bytes(self._wire[5 : 5 + length])
            del self._wire[: 5 + length]
            self._on_record(head, body)
        answer, self._answer = self._answer, b""
        return answer

    def _on_record(self, head: bytes, body: bytes) -> None:
        kind = head[0]
        if kind == CHANGE_CIPHER:
            # In TLS 1.3 it means nothing (RFC 8446 §D.4).
            self.receiving = self._next_receiving or self.receiving
            self._next_receiving = None
            return
        if self.receiving is not None:
            kind, body = self.receiving.unprotect(head, body)
        if kind == APPLICATION:
            assert self.done
            self.plain += body
        elif kind == ALERT:
            self.alerts.append((body[0], body[1]))
        else:
            assert kind == HANDSHAKE, kind
            self._handshake += body
            self._on_handshake_bytes()

    def _on_handshake_bytes(self) -> None:
        while len(self._handshake) >= 4:
            size = 4 + int.from_bytes(self._handshake[1:4])
            if len(self._handshake) < size:
                break
            whole = bytes(self._handshake[:size])
            del self._handshake[:size]
            if self.done:
                self.messages.append(whole)
                if whole[0] == KEY_UPDATE:
                    self._on_key_update()
            else:
                self._on_handshake(whole[0], whole[4:], whole)

    def _on_key_update(self) -> None:
        assert isinstance(self.receiving, Keys13)
        self.receiving.rotate()
        self.key_updates += 1

    def _hash(self) -> bytes:
        return hashlib.sha256(self._transcript).digest()

    def _shared(self, public: bytes) -> bytes:
        return self._private.exchange(X25519PublicKey.from_public_bytes(public))


class Session13(Session):
    """TLS 1.3 (RFC 8446)."""

    def _suite(self) -> bytes:
        return b"\x13\x01"  # TLS_AES_128_GCM_SHA256

    def _extensions(self) -> bytes:
        share = _X25519 + struct.pack("!H", len(self._public)) + self._public
        return (
            extension(43, b"\x02\x03\x04")
            + extension(10, b"\x00\x02" + _X25519)
            + extension(13, struct.pack("!H", len(_SIGNATURES)) + _SIGNATURES)
            + extension(51, struct.pack("!H", len(share)) + share)
        )

    def key_update(self, *, request: bool = False) -> bytes:
        """A KeyUpdate's record; what is sent after it has the next key (RFC 8446 §4.6.3)."""
        made = self.record(HANDSHAKE, message(KEY_UPDATE, bytes([request])))
        self.rotate()
        return made

    def rotate(self) -> None:
        """Send with the next key from now on."""
        assert isinstance(self.sending, Keys13)
        self.sending.rotate()

    def _on_handshake(self, kind: int, body: bytes, whole: bytes) -> None:
        if kind == SERVER_HELLO:
            self._transcript += whole
            self._on_server_hello(body)
        elif kind == FINISHED:
            assert body == self._finished(self._server_secret), "the server's Finished is wrong"
            self._transcript += whole
            self._finish()
        else:
            self._transcript += whole

    def _on_server_hello(self, body: bytes) -> None:
        self._chained = hmac_sha256(bytes(SECRET_BYTES), bytes(SECRET_BYTES))
        self._chain(self._shared(_extensions_of(body)[51][4:]))
        self._client_secret = self._derived(b"c hs traffic")
        self._server_secret = self._derived(b"s hs traffic")
        self.receiving = Keys13(self._server_secret)

    def _finish(self) -> None:
        finished = message(FINISHED, self._finished(self._client_secret))
        self._answer += Keys13(self._client_secret).protect(HANDSHAKE, finished)
        self._chain(bytes(SECRET_BYTES))
        self.sending = Keys13(self._derived(b"c ap traffic"))
        self.receiving = Keys13(self._derived(b"s ap traffic"))
        self.done = True

    def _chain(self, secret: bytes) -> None:
        """The next secret of the key schedule."""
        empty = hashlib.sha256().digest()
        self._chained = hmac_sha256(
            expand_label(self._chained, b"derived", empty, SECRET_BYTES), secret
        )

    def _derived(self, label: bytes) -> bytes:
        return expand_label(self._chained, label, self._hash(), SECRET_BYTES)

    def _finished(self, secret: bytes) -> bytes:
        return hmac_sha256(expand_label(secret, b"finished", b"", SECRET_BYTES), self._hash())


class Session12(Session):
    """TLS 1.2 (RFC 5246) with ECDHE-ECDSA-AES128-GCM-SHA256 and the extended master secret."""

    def _suite(self) -> bytes:
        return b"\xc0\x2b"

    def _extensions(self) -> bytes:
        # The certificate's own curve has to be among them (RFC 8422 §5.1); the first one is taken.
        return (
            extension(10, b"\x00\x04" + _X25519 + b"\x00\x17")
            + extension(11, b"\x01\x00")
            + extension(13, struct.pack("!H", len(_SIGNATURES)) + _SIGNATURES)
            + extension(23, b"")  # extended master secret (RFC 7627)
            + extension(0xFF01, b"\x00")  # secure renegotiation (RFC 5746)
        )

    def _on_handshake(self, kind: int, body: bytes, whole: bytes) -> None:
        if kind == FINISHED:
            wanted = prf(self._master, b"server finished", self._hash(), 12)
            assert body == wanted, "the server's Finished is wrong"
            self.done = True
            return
        self._transcript += whole
        if kind == SERVER_HELLO:
            self._server_random = body[2:34]
            assert 23 in _extensions_of(body), "no extended master secret"
        elif kind == SERVER_KEY:
            assert body[:3] == b"\x03" + _X25519
            self._server_public = body[4 : 4 + body[3]]
        elif kind == HELLO_DONE:
            self._finish()

    def _finish(self) -> None:
        client_key = message(CLIENT_KEY, bytes([len(self._public)]) + self._public)
        self._transcript += client_key
        shared = self._shared(self._server_public)
        self._master = prf(shared, b"extended master secret", self._hash(), 48)
        block = prf(self._master, b"key expansion", self._server_random + self._random, 40)
        ours, theirs = block[:KEY_BYTES], block[KEY_BYTES : 2 * KEY_BYTES]
        self.sending = Keys12(ours, block[32:36])
        self._next_receiving = Keys12(theirs, block[36:40])
        finished = message(FINISHED, prf(self._master, b"client finished", self._hash(), 12))
        self._transcript += finished
        self._answer += record(HANDSHAKE, client_key) + record(CHANGE_CIPHER, b"\x01")
        self._answer += self.record(HANDSHAKE, finished)


def _extensions_of(server_hello: bytes) -> dict[int, bytes]:
    """What the server says of the handshake, by number."""
    at = 35 + server_hello[34] + 3  # version, random, session id, suite, compression
    found, rest = {}, server_hello[at + 2 :]
    while rest:
        number, size = struct.unpack_from("!HH", rest)
        found[number] = rest[4 : 4 + size]
        rest = rest[4 + size :]
    return found


def session(version: str) -> Session:
    """One for ``"1.2"`` or ``"1.3"``."""
    return Session12() if version == "1.2" else Session13()
