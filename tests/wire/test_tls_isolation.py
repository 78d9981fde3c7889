"""TLS connections share their buffers; nothing of one may get into another."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from fastrelay.net.tls.buffers import TlsBuffers
from fastrelay.net.tls.certificates import Certificates
from fastrelay.net.tls.layer import TlsLayer
from tests.support.certificates import authority, local_certificate
from tests.support.harness import running_relay
from tests.support.newcomers import unhurried_tls
from tests.support.peer import client_frame, open_http, request, upgrade_headers


class Client:
    """The other end of a TLS connection, in memory."""

    def __init__(self) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = authority().client.wrap_bio(
            self._incoming, self._outgoing, server_hostname="127.0.0.1"
        )

    def says(self, *messages: bytes) -> bytes:
        """Records of these, or the next step of the handshake."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        for message in messages:
            self.tls.write(message)
        return self._outgoing.read()

    def hears(self, ciphertext: bytes) -> bytes:
        """What that means; raises if it is no stream of records made for this connection."""
        self._incoming.write(ciphertext)
        heard = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
            while data := self.tls.read(65536):
                heard += data
        return heard


# -- through a relay -------------------------------------------------------------------------------

GARBAGE = b"\x17\x03\x03\x00\x20" + b"\0" * 32
"""A record that nobody encrypted."""


async def test_an_alert_for_one_is_not_sent_to_another() -> None:
    """A phone's frame and a broken record in one read: the frame goes on, the alert goes back."""
    async with running_relay(tls=local_certificate()) as relay:
        binary, client = await relay.binary(), Client()
        phone = relay.own(await open_http(relay.port))
        headers = upgrade_headers({"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"})
        phone.send(client.says())
        client.hears(await phone.reader.read(65536))
        phone.send(client.says(request("/v1/client", headers)))
        assert b" 101 " in client.hears(await phone.reader.read(65536))
        phone.send(client.says(client_frame(b"1")) + GARBAGE)
        assert (await binary.json())["frame"] == 1
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            client.hears(await phone.reader.read(65536))
        other = await relay.phone()
        other.send_text("2")
        while (envelope := await binary.json()).get("frame") != 2:
            assert "frame" not in envelope


# -- layer by layer --------------------------------------------------------------------------------


class FakeWheel:
    """No time passes."""

    def after(self, item: Any, delay: float) -> None: ...
    def cancel(self, item: Any) -> None: ...


class Wire(asyncio.Transport):
    """A plain transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...


class Above(asyncio.Protocol):
    """A protocol that does as it is told with what it is given."""

    def __init__(self, act: Callable[[bytes], None]) -> None:
        self.data_received = act  # type: ignore[method-assign]


class End:
    """One TLS connection that has shaken hands, with its client and its wire."""

    def __init__(self, buffers: TlsBuffers, act: Callable[[bytes], None]) -> None:
        certificates = Certificates()
        certificates.install(local_certificate().certificate, local_certificate().key)
        self.wire, self.client = Wire(), Client()
        self.buffers = buffers
        self.layer = TlsLayer(Above(act), certificates, buffers, "192.0.2.1")
        self.layer.connection_made(self.wire)
        while not self.client.tls.cipher():
            self.receives(self.client.says())
            self.heard()
        self.receives(self.client.says())

    def receives(self, ciphertext: bytes) -> None:
        """Let the layer read."""
        self.layer._quota = room = self.buffers.ciphertext  # so it is one read
        room[: len(ciphertext)] = ciphertext
        self.layer.buffer_updated(len(ciphertext))

    def heard(self) -> bytes:
        """What the client understands of all that was written since."""
        written, self.wire.written = self.wire.written, b""
        return self.client.hears(written)


def test_a_goodbye_leaves_alone_what_another_has_received() -> None:
    buffers, seen = unhurried_tls(FakeWheel(), 1.0), b""
    other = End(buffers, lambda data: None)

    def act(data: bytes) -> None:
        nonlocal seen
        seen += data
        other.layer.close()

    one = End(buffers, act)
    message = bytes(range(256)) * 256  # more than the protocol above takes at once
    one.receives(one.client.says(message))
    assert seen == message
    other.heard()
    assert other.client.tls.read(1) == b""  # the goodbye; without it, this would want more


def test_a_protocol_that_fails_spoils_nothing_for_the_next() -> None:
    buffers, seen = unhurried_tls(FakeWheel(), 1.0), b""

    def fail(data: bytes) -> None:
        raise RuntimeError("a bug")

    def note(data: bytes) -> None:
        nonlocal seen
        seen += data

    one, other = End(buffers, fail), End(buffers, note)
    with pytest.raises(RuntimeError):
        one.receives(one.client.says(b"x" * 65536))
    assert not buffers.bios.incoming.pending
    assert not buffers.bios.outgoing.pending
    other.receives(other.client.says(b"hello"))
    assert seen == b"hello"
    other.layer.write(b"and welcome")
    assert other.heard() == b"and welcome"
