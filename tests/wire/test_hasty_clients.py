"""Clients that end their side of TCP with the request: FIN comes in one packet with the head."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.support.attempts import CLIENT, SERVER
from tests.support.harness import (
    SECURE,
    START,
    RunningRelay,
    relay_in_process,
    relay_with_workers,
    running_relay,
)
from tests.support.peer import CLOSE, client_frame, close_payload, request, upgrade_headers

SEVERAL = 4
"""How often: with workers, one connection in two is handed over to another one."""

GOODBYE = client_frame(close_payload(1000), CLOSE)


@pytest.fixture(
    autouse=True,
    params=[(start, tls) for start in (relay_in_process, relay_with_workers) for tls in (0, 1)],
    ids=["plain", "TLS", "plain, workers", "TLS, workers"],
)
def in_all_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Relays of this module are one process or several, with and without TLS."""
    start, secure = START.set(request.param[0]), SECURE.set(bool(request.param[1]))
    yield
    START.reset(start)
    SECURE.reset(secure)


async def said_at_once(
    relay: RunningRelay, data: bytes, *, behind: bytes = b"", then: bytes | None = None
) -> bytes:
    """What a client hears that sends ``data`` and FIN together, until the relay hangs up.

    ``behind``: the head of a request that is answered before. ``then``: bytes that are sent as they
    are, instead of a close_notify.
    """
    return await asyncio.to_thread(_say, relay.port, relay.tls, behind, data, then)


def _say(
    port: int, context: ssl.SSLContext | None, opening: bytes, data: bytes, then: bytes | None
) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        line = Line(sock) if context is None else TlsLine(sock, context)
        heard = b""
        if opening:
            sock.sendall(line.encoded(opening))
            while b"\r\n\r\n" not in heard:
                heard += line.hear()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # FIN is in the packet of the data
        sock.sendall(line.encoded(data, is_last=then is None) + (then or b""))
        sock.shutdown(socket.SHUT_WR)
        broken = () if then is None else (ConnectionResetError, ssl.SSLError)
        with contextlib.suppress(*broken):
            while part := line.hear():
                heard += part
        return heard


class Line:
    """A connection in the clear."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def encoded(self, data: bytes, *, is_last: bool = False) -> bytes:
        return data

    def hear(self) -> bytes:
        """What comes next; nothing at the end."""
        return self.sock.recv(65536)


class TlsLine(Line):
    """A connection over TLS, which ends with a close_notify."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(self._outgoing.read())
                self._incoming.write(sock.recv(65536))
        sock.sendall(self._outgoing.read())

    def encoded(self, data: bytes, *, is_last: bool = False) -> bytes:
        self._tls.write(data)
        if is_last:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.unwrap()  # writes close_notify
        return self._outgoing.read()

    def hear(self) -> bytes:
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    return self._tls.read(65536)
                came = self.sock.recv(65536)
                if not came:
                    return b""
                self._incoming.write(came)
        return b""


async def test_a_plain_request_is_answered() -> None:
    async with running_relay() as relay:
        heard = await said_at_once(relay, request("/healthz", {"Connection": "close"}))
        assert heard.startswith(b"HTTP/1.1 200 ")
        assert heard.endswith(b"}")


async def test_requests_in_a_pipeline_are_answered() -> None:
    async with running_relay() as relay:
        heard = await said_at_once(relay, request("/healthz") * 3)
        assert heard.count(b"HTTP/1.1 200 ") == 3


async def test_a_refusal_is_heard() -> None:
    async with running_relay() as relay:
        heard = await said_at_once(relay, request("/v1/client"))
        assert heard.startswith(b"HTTP/1.1 400 ")


async def test_a_phone_that_says_goodbye_with_its_head_is_answered() -> None:
    async with running_relay() as relay:
        binary = await relay.binary()
        for _ in range(SEVERAL):
            head = request("/v1/client", upgrade_headers(CLIENT))
            heard = await said_at_once(relay, head + client_frame(b'"last"') + GOODBYE)
            head, _, frames = heard.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert frames == b"\x88\x02" + close_payload(1000)
            sent = await binary.json()
            assert sent["frame"] == "last"
            assert await binary.json() == {"conn_id": sent["conn_id"], "close_code": 1000}


async def test_a_phone_that_says_goodbye_later_is_answered() -> None:
    async with running_relay() as relay:
        binary = await relay.binary()
        words = client_frame(b'"last"') + GOODBYE
        for _ in range(SEVERAL):
            head = request("/v1/client", upgrade_headers(CLIENT))
            heard = await said_at_once(relay, words, behind=head)
            assert heard.partition(b"\r\n\r\n")[2] == b"\x88\x02" + close_payload(1000)
            sent = await binary.json()
            assert sent["frame"] == "last"
            assert await binary.json() == {"conn_id": sent["conn_id"], "close_code": 1000}


async def test_a_binary_that_says_goodbye_with_its_head_is_answered() -> None:
    async with running_relay() as relay:
        head = request("/v1/server", upgrade_headers(SERVER))
        heard = await said_at_once(relay, head + GOODBYE)
        assert heard.startswith(b"HTTP/1.1 101 ")
        assert heard.endswith(b"\r\n\r\n\x88\x02" + close_payload(1000))


async def test_what_breaks_the_rules_behind_a_head_ends_that_connection_alone() -> None:
    """Over TLS it is no record at all, and comes while the connection is on its way."""
    async with running_relay() as relay:
        binary = await relay.binary()
        for _ in range(SEVERAL):
            head = request("/v1/client", upgrade_headers(CLIENT))
            await said_at_once(relay, head, then=b"\x17\x03\x03\x00\x20" + b"x" * 32)
        last = await relay.phone()
        last.send_text('"last"')
        while (await binary.json()).get("frame") != "last":
            pass


async def test_a_refused_phone_that_says_goodbye_with_its_head_hears_why() -> None:
    async with running_relay() as relay:
        head = request("/v1/client", upgrade_headers(CLIENT))
        heard = await said_at_once(relay, head + GOODBYE)
        assert heard.endswith(close_payload(4404, "no server with that id"))


async def test_a_phone_that_only_ends_tcp_leaves_a_notice() -> None:
    async with running_relay() as relay:
        binary = await relay.binary()
        head = request("/v1/client", upgrade_headers(CLIENT))
        heard = await said_at_once(relay, head + client_frame(b'"last"'))
        assert heard.startswith(b"HTTP/1.1 101 ")
        sent = await binary.json()
        assert sent["frame"] == "last"
        assert await binary.json() == {"conn_id": sent["conn_id"], "close_code": 1001}
