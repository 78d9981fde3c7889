"""A TLS handshake that fails: said to developers, and counted by reason."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable

import pytest

from fastrelay.log import WHOLE_LINES
from tests.support.certificates import authority, local_certificate
from tests.support.harness import START, RunningRelay, relay_with_workers, running_relay
from tests.support.peer import HttpClient, open_http, request

FAMILY = "pyrycode_relay_tls_handshakes_failed_total"
REASONS = {
    *("not_tls", "version", "nothing_shared", "certificate_refused", "alert", "malformed"),
    *("closed", "unfinished"),
}


def failures(relay: RunningRelay) -> dict[str, float]:
    """The failures by reason, as a scrape shows them."""
    return {
        dict(labels)["reason"]: count
        for (name, labels), count in relay.samples().items()
        if name == FAMILY
    }


async def assert_failed(relay: RunningRelay, reason: str) -> None:
    """One handshake failed, for this reason, and that is said and counted once."""
    await relay.until(lambda: relay.log_of("tls_handshake_failed"))
    await relay.until(lambda: relay.pending == 0)
    (line,) = relay.log_of("tls_handshake_failed")
    assert f" level=DEBUG msg=tls_handshake_failed remote=127.0.0.1 err={reason}\n" in line
    assert failures(relay) == {known: float(known == reason) for known in REASONS}


def hello(context: ssl.SSLContext) -> bytes:
    """The first bytes of a client."""
    outgoing = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def shake_hands(port: int, context: ssl.SSLContext) -> None:
    """Try to, and hang up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        try:
            with context.wrap_socket(sock, server_hostname="127.0.0.1") as tls:
                tls.recv(1)
        except ssl.SSLError:
            return
    raise AssertionError("the handshake was completed")


def with_no_suite_in_common() -> ssl.SSLContext:
    context = authority().context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES256-SHA")
    return context


def with_no_trust(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (with_no_suite_in_common, "nothing_shared"),
        (lambda: with_no_trust(ssl.TLSVersion.TLSv1_2), "certificate_refused"),
        (lambda: with_no_trust(ssl.TLSVersion.TLSv1_3), "certificate_refused"),
    ],
    ids=["no suite in common", "no trust, 1.2", "no trust, 1.3"],
)
async def test_a_client_that_agrees_to_nothing(
    make: Callable[[], ssl.SSLContext], reason: str
) -> None:
    async with running_relay(tls=local_certificate()) as relay:
        await asyncio.to_thread(shake_hands, relay.port, make())
        await assert_failed(relay, reason)


async def test_a_version_that_is_too_old() -> None:
    openssl = shutil.which("openssl")
    assert openssl
    options = ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    async with running_relay(tls=local_certificate()) as relay:
        command = (openssl, "s_client", "-connect", f"127.0.0.1:{relay.port}", *options)
        await asyncio.to_thread(
            subprocess.run, command, input=b"", capture_output=True, timeout=10, check=False
        )
        await assert_failed(relay, "version")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (lambda: request("/healthz"), "not_tls"),
        (lambda: b"\x16\x03\x01\x00\x05hello", "malformed"),
        (lambda: hello(with_no_trust(ssl.TLSVersion.TLSv1_2)) + fatal(40), "alert"),
        (lambda: hello(with_no_trust(ssl.TLSVersion.TLSv1_2)) + fatal(48), "certificate_refused"),
        (lambda: hello(with_no_trust(ssl.TLSVersion.TLSv1_2)) + fatal(70), "version"),
        (lambda: hello(with_no_trust(ssl.TLSVersion.TLSv1_2)) + b"\x17\3\3\0\1x", "malformed"),
    ],
    ids=["clear text", "no hello", "alert", "alert of the CA", "alert of the version", "nonsense"],
)
async def test_bytes_that_are_no_handshake(sent: Callable[[], bytes], reason: str) -> None:
    async with running_relay(tls=local_certificate()) as relay:
        client = relay.own(await open_http(relay.port))
        client.send(sent())
        await assert_failed(relay, reason)
        await client.reader.read()


def fatal(description: int) -> bytes:
    """An alert that is not encrypted."""
    return bytes((0x15, 3, 3, 0, 2, 2, description))


@pytest.mark.parametrize("part", [5, 100, 10_000])
async def test_a_client_that_hangs_up(part: int) -> None:
    async with running_relay(tls=local_certificate()) as relay:
        client = relay.own(await open_http(relay.port))
        client.send(hello(authority().client)[:part])
        await relay.until(lambda: relay.pending == 1)
        await client.close()
        await assert_failed(relay, "closed")


async def test_a_client_that_takes_too_long() -> None:
    async with running_relay(tls=local_certificate(), intervals={"head": 0.05}) as relay:
        client = relay.own(await open_http(relay.port))
        client.send(hello(authority().client)[:5])
        assert await client.at_eof()
        await assert_failed(relay, "unfinished")


async def test_what_is_no_failure() -> None:
    """Who says nothing has begun none; who is served has ended it, however the rest goes."""
    async with running_relay(tls=local_certificate(), intervals={"head": 0.3}) as relay:
        silent = relay.own(await open_http(relay.port))
        await silent.close()
        client = relay.own(await open_http(relay.port, authority().client))
        client.send(request("/healthz"))
        assert (await client.response())[0] == 200
        await client.close()
        idle = relay.own(await open_http(relay.port, authority().client))
        assert await idle.at_eof()
        await relay.until(lambda: relay.pending == 0)
        await break_record(relay)
        assert not relay.log_of("tls_handshake_failed")
        assert not any(failures(relay).values())


async def break_record(relay: RunningRelay) -> None:
    """A record that cannot be decrypted, behind a whole handshake."""
    client = relay.own(await open_http(relay.port, authority().client))
    client.send(request("/healthz"))
    assert (await client.response())[0] == 200
    raw = client.writer.get_extra_info("socket")
    descriptor = raw.fileno()
    with socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM) as same:
        same.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(same, b"\x17\x03\x03\x00\x20" + b"\0" * 32)
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await client.reader.read()


async def test_without_tls_the_family_is_there_too() -> None:
    async with running_relay() as relay:
        assert failures(relay) == dict.fromkeys(REASONS, 0.0)


async def test_failures_of_all_workers_are_summed() -> None:
    token = START.set(relay_with_workers)
    try:
        async with running_relay(tls=local_certificate()) as relay:
            for _ in range(8):
                client: HttpClient = relay.own(await open_http(relay.port))
                client.send(request("/healthz"))
                assert await client.at_eof()
            assert failures(relay) == dict.fromkeys(REASONS, 0.0) | {"not_tls": 8.0}
    finally:
        START.reset(token)


async def test_a_flood_is_no_flood_of_lines() -> None:
    intervals = {"log_flood": 1000.0}
    async with running_relay(tls=local_certificate(), intervals=intervals) as relay:
        for _ in range(WHOLE_LINES + 5):
            client = relay.own(await open_http(relay.port))
            client.send(request("/healthz"))
            assert await client.at_eof()
        assert len(relay.log_of("tls_handshake_failed")) == WHOLE_LINES
        assert failures(relay)["not_tls"] == WHOLE_LINES + 5
