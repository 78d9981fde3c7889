"""PROXY protocol v2: from a real sender, and from whoever would like to be believed."""

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.support.ports import free_port
from fastrelay.protocol.proxy_v2 import (
    FIXED_BYTES,
    LONGEST_BYTES,
    SIGNATURE,
    BadHeader,
    length_of,
    source_of,
)
from tests.support.certificates import authority, local_certificate
from tests.support.harness import START, RunningRelay, relay_with_workers, running_relay
from tests.support.peer import Peer, open_peer
from tests.support.programs import needs

PHONE = {"X-Pyrycode-Server": "nobody", "X-Pyrycode-Token": "t"}


def header(
    source: str = "203.0.113.7",
    *,
    command: int = 0x21,
    family: int | None = None,
    tlvs: bytes = b"",
    length: int | None = None,
) -> bytes:
    """A header as a proxy sends it, with whatever is to be wrong with it."""
    address = ipaddress.ip_address(source)
    body = address.packed * 2 + struct.pack("!HH", 40000, 443) + tlvs
    if family is None:
        family = 0x11 if address.version == 4 else 0x21
    size = len(body) if length is None else length
    return SIGNATURE + bytes((command, family)) + struct.pack("!H", size) + body


# -- the parser ------------------------------------------------------------------------------------


@given(st.ip_addresses(), st.binary(max_size=200))
def test_every_source_is_read(source: ipaddress.IPv4Address, tlvs: bytes) -> None:
    data = header(str(source), tlvs=tlvs)
    assert length_of(data[:FIXED_BYTES]) == len(data)
    mapped = getattr(source, "ipv4_mapped", None)
    assert ipaddress.ip_address(source_of(data) or "") == (mapped or source)


@given(st.binary(min_size=FIXED_BYTES, max_size=300))
def test_anything_else_is_refused_and_nothing_else_is_raised(data: bytes) -> None:
    with contextlib.suppress(BadHeader):
        total = length_of(data)
        assert FIXED_BYTES <= total <= LONGEST_BYTES
        if len(data) >= total:
            source = source_of(data[:total])
            assert source is None or ipaddress.ip_address(source)


# -- the listener ----------------------------------------------------------------------------------


async def connect(relay: RunningRelay, head: bytes, chunk: int = 0) -> socket.socket:
    """A TCP connection that has sent ``head``, in pieces of ``chunk`` bytes if that is not 0."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", relay.port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    step = chunk or len(head) or 1
    for begin in range(0, len(head), step):
        with contextlib.suppress(ConnectionError):  # it may have been refused already
            await loop.sock_sendall(sock, head[begin : begin + step])
        await asyncio.sleep(0)
    return sock


async def refused_phone(relay: RunningRelay, head: bytes, chunk: int = 0) -> str:
    """The client's address as the relay sees it."""
    sock = await connect(relay, head, chunk)
    phone = await open_peer(relay.port, "/v1/client", PHONE, sock=sock, tls=authority().client)
    assert (await relay.own(phone).closed())[0] == 4404
    return relay.log_of("phone_register_no_server")[-1].split("remote=")[1].split()[0]


@pytest.mark.parametrize("chunk", [0, 1, 16, 17])
@pytest.mark.parametrize("source", ["203.0.113.7", "2001:db8::7"])
async def test_the_client_is_who_the_header_says(source: str, chunk: int) -> None:
    async with running_relay(tls=local_certificate(), proxy_headers=()) as relay:
        assert await refused_phone(relay, header(source), chunk) == source
        assert await refused_phone(relay, header(source, tlvs=b"\x04\x00\x02ab"), chunk) == source


@pytest.mark.parametrize("chunk", [0, 4096])
async def test_tlvs_may_be_long(chunk: int) -> None:
    """A balancer puts a client's certificate there; what follows is the handshake."""
    async with running_relay(tls=local_certificate(), proxy_headers=()) as relay:
        for size in (1024, LONGEST_BYTES - len(header()) - 3):
            tlvs = b"\x20" + struct.pack("!H", size) + b"x" * size
            assert await refused_phone(relay, header(tlvs=tlvs), chunk) == "203.0.113.7"
        assert not any(refusals(relay).values())


@pytest.mark.parametrize("local", [header(command=0x20), header(command=0x20, family=0x00)])
async def test_a_local_connection_is_the_balancers_own(local: bytes) -> None:
    """Its health check sends no client's address, and may go on with TLS or end."""
    for networks in ((), (ip_network("127.0.0.0/8"),)):
        async with running_relay(tls=local_certificate(), proxy_headers=networks) as relay:
            short = SIGNATURE + b"\x20\x00\x00\x00"
            for head in (local, short):
                assert await refused_phone(relay, head) == "127.0.0.1"
                (await connect(relay, head)).close()
            await relay.until(lambda: relay.pending == 0)
            assert not relay.log_of("proxy_header_refused")
            assert not any(refusals(relay).values())


BAD = {
    "none, but TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 40, "no_header"),
    "none, and shorter than one": (b"GET", "no_header"),
    "version 1": (b"PROXY TCP4 203.0.113.7 127.0.0.1 40000 443\r\n", "version_1"),
    "the shortest of version 1": (b"PROXY UNKNOWN\r\n", "version_1"),
    "version 3": (header(command=0x31), "malformed"),
    "another command": (header(command=0x2F), "malformed"),
    "UNIX": (header(family=0x31), "not_tcp"),
    "UDP": (header(family=0x12), "not_tcp"),
    "unspecified": (header(family=0x00), "not_tcp"),
    "shorter than its addresses": (header(length=4)[: FIXED_BYTES + 4], "malformed"),
    "oversize": (header(length=LONGEST_BYTES) + b"x" * LONGEST_BYTES, "too_long"),
    "oversize and LOCAL": (header(command=0x20, length=LONGEST_BYTES), "too_long"),
    "another signature": (b"\r\n\r\n\x00\r\nQUIT\r" + header()[12:], "no_header"),
}
REASONS = {
    *("not_believed", "no_header", "version_1", "malformed", "not_tcp", "too_long"),
    *("timeout", "closed"),
}
FAMILY = "pyrycode_relay_proxy_headers_refused_total"


def refusals(relay: RunningRelay) -> dict[str, float]:
    """The refusals by reason, as a scrape shows them."""
    return {
        dict(labels)["reason"]: count
        for (name, labels), count in relay.samples().items()
        if name == FAMILY
    }


async def assert_refused(relay: RunningRelay, reason: str, *, level: str = "WARN") -> None:
    """One connection was refused, for this reason, and that is said and counted."""
    await relay.until(lambda: relay.log_of("proxy_header_refused"))
    (line,) = relay.log_of("proxy_header_refused")
    assert f" level={level} msg=proxy_header_refused remote=127.0.0.1 err={reason}\n" in line
    assert refusals(relay) == {known: float(known == reason) for known in REASONS}


@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize(("head", "reason"), BAD.values(), ids=BAD)
async def test_anything_else_is_dropped_unanswered_and_said(
    head: bytes, reason: str, chunk: int
) -> None:
    async with running_relay(tls=local_certificate(), proxy_headers=()) as relay:
        with contextlib.closing(await connect(relay, head[:100], chunk)) as sock:
            assert await ended(sock)
        await relay.until(lambda: relay.pending == 0)
        await assert_refused(relay, reason)


@pytest.mark.parametrize("head", [b"", b"PROX", header()[:20]])
async def test_a_peer_that_closes_first_is_said_to_developers(head: bytes) -> None:
    """Some health checks only open a connection."""
    async with running_relay(tls=local_certificate(), proxy_headers=()) as relay:
        (await connect(relay, head)).close()
        await assert_refused(relay, "closed", level="DEBUG")


async def test_a_relay_without_it_has_the_family_too() -> None:
    async with running_relay() as relay:
        assert refusals(relay) == dict.fromkeys(REASONS, 0.0)


async def test_refusals_of_all_workers_are_summed() -> None:
    token = START.set(relay_with_workers)
    try:
        async with running_relay(tls=local_certificate(), proxy_headers=()) as relay:
            for _ in range(8):
                with contextlib.closing(await connect(relay, b"GET / HTTP/1.1\r\n")) as sock:
                    assert await ended(sock)
            assert refusals(relay) == dict.fromkeys(REASONS, 0.0) | {"no_header": 8.0}
    finally:
        START.reset(token)


async def ended(sock: socket.socket) -> bool:
    """Whether the relay hung up without having said a word."""
    async with asyncio.timeout(40):
        try:
            return await asyncio.get_running_loop().sock_recv(sock, 100) == b""
        except ConnectionResetError:
            return True


async def test_a_stalled_header_is_dropped_and_holds_up_nobody() -> None:
    intervals = {"proxy_header": 0.3}
    async with running_relay(
        tls=local_certificate(), proxy_headers=(), intervals=intervals
    ) as relay:
        stalled = [await connect(relay, header()[:size]) for size in (0, 5, 16, 20)]
        assert await refused_phone(relay, header()) == "203.0.113.7"
        for sock in stalled:
            with contextlib.closing(sock):
                assert await ended(sock)
        assert refusals(relay) == dict.fromkeys(REASONS, 0.0) | {"timeout": 4.0}
        assert all("err=timeout" in line for line in relay.log_of("proxy_header_refused"))


async def test_a_stop_drops_who_is_about_to_say() -> None:
    async with running_relay(tls=local_certificate(), proxy_headers=()) as relay:
        sock = await connect(relay, header()[:10])
        await relay.until(lambda: relay.pending == 1)
        await relay.relay.stop()
        with contextlib.closing(sock):
            assert await ended(sock)
        assert not relay.log_of("proxy_header_refused")


async def test_a_peer_that_is_not_believed_is_dropped() -> None:
    networks = (ip_network("10.0.0.0/8"),)
    async with running_relay(tls=local_certificate(), proxy_headers=networks) as relay:
        with contextlib.closing(await connect(relay, header())) as sock:
            assert await ended(sock)
        await assert_refused(relay, "not_believed")
    networks = (ip_network("127.0.0.0/8"),)
    async with running_relay(tls=local_certificate(), proxy_headers=networks) as relay:
        assert await refused_phone(relay, header()) == "203.0.113.7"


# -- a real sender ---------------------------------------------------------------------------------

HAPROXY = """\
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server relay 127.0.0.1:{relay} send-proxy-v2 {check}
"""


@asynccontextmanager
async def haproxy_before(relay: RunningRelay, directory: Path, check: str) -> AsyncIterator[int]:
    """HAProxy before a relay; yields its port."""
    needs("haproxy", "haproxy")
    port = free_port()
    config = directory / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, relay=relay.port, check=check))
    haproxy = await asyncio.create_subprocess_exec("/usr/sbin/haproxy", "-db", "-f", str(config))
    try:
        yield port
    finally:
        haproxy.terminate()
        await haproxy.wait()


@pytest.mark.parametrize("check", ["check", "check check-ssl verify none"])
async def test_haproxys_health_check_is_answered_and_no_fault(check: str, tmp_path: Path) -> None:
    """It goes through the header with LOCAL, alone or before a TLS handshake."""
    async with running_relay(tls=local_certificate(), proxy_headers=()) as relay:
        taken = []
        accept = relay.relay.pending.add
        relay.relay.pending.add = lambda *given: (taken.append(given), accept(*given))
        async with haproxy_before(relay, tmp_path, f"{check} inter 50ms") as port:
            await relay.until(lambda: len(taken) >= 4, 10.0)
            relay.own(await phone_from("127.0.0.5", port))
        assert not relay.log_of("proxy_header_refused")
        assert not any(refusals(relay).values())


async def test_through_haproxy_the_limiter_sees_the_original_address(tmp_path: Path) -> None:
    limits = {"upgrade_burst": 1, "upgrade_refill": 1e6}
    async with running_relay(tls=local_certificate(), proxy_headers=(), limits=limits) as relay:
        async with haproxy_before(relay, tmp_path, "") as port:
            for source in ("127.0.0.5", "127.0.0.6"):
                relay.own(await phone_from(source, port))  # one attempt each
            remotes = [
                line.split("remote=")[1].split()[0]
                for line in relay.log_of("phone_register_no_server")
            ]
            assert remotes == ["127.0.0.5", "127.0.0.6"]
            with pytest.raises(AssertionError):
                await phone_from("127.0.0.5", port)
            assert "remote=127.0.0.5" in relay.log_of("rate_limited")[0]


async def phone_from(source: str, port: int) -> Peer:
    """An upgrade attempt through the proxy, as soon as that listens."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(40):
        while True:
            sock = socket.socket()
            sock.setblocking(False)
            sock.bind((source, 0))
            try:
                await loop.sock_connect(sock, ("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                sock.close()
                await asyncio.sleep(0.02)
    return await open_peer(port, "/v1/client", PHONE, sock=sock, tls=authority().client)
