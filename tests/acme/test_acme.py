"""Certificates from a real ACME server, and what happens when that goes wrong."""

import asyncio
import contextlib
import json
import re
import ssl
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509

from bench.support.ports import free_port
from fastrelay.acme.cache import CertificateCache
from fastrelay.acme.issuer import IssuanceFailed, Issuer
from fastrelay.acme.renewal import Renewal, RenewalTiming
from fastrelay.acme.responder import ChallengeResponder
from fastrelay.config.settings import Acme, Address
from fastrelay.http.client_address import socket_peer
from fastrelay.http.connection import HttpProtocol, Route, Site
from fastrelay.log import Log
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.bound_sockets import bind
from fastrelay.net.listener import Listener
from fastrelay.policy.pending import PendingConnections
from tests.support.certificates import authority
from tests.support.newcomers import unhurried
from tests.support.pebble import Pebble, pebble
from tests.support.programs import needs
from tests.support.sealed import run_sealed

DOMAIN = "relay.example.test"
QUICK = RenewalTiming(retry=0.05, max_retry=0.1, check=0.05, stop=5.0)


class DeafResponder(ChallengeResponder):
    """Answers nothing until it is told to."""

    deaf = True

    def __getitem__(self, path: str) -> Route:
        if self.deaf:
            raise KeyError(path)
        return super().__getitem__(path)


class Certified:
    """A renewal under way, with what it did."""

    def __init__(self, cache: CertificateCache, responder: ChallengeResponder) -> None:
        self.cache = cache
        self.responder = responder
        self.ahead = 0.0
        self.lines: list[str] = []
        self.installed: list[bytes] = []
        self.log = Log(self.lines.append, "debug")

    def prepare(self, file: Path) -> Callable[[], None]:
        content = file.read_bytes()
        return lambda: self.installed.append(content)

    async def until(self, installed: int = 0, said: str = "", timeout: float = 20) -> None:
        async with asyncio.timeout(timeout):
            while len(self.installed) < installed or not any(said in line for line in self.lines):
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def http_listener(responder: ChallengeResponder) -> AsyncIterator[int]:
    """What the CA validates against; yields its port."""
    loop = asyncio.get_running_loop()
    wheel = TimerWheel(loop, 0.01)
    pending = PendingConnections(10)
    newcomers = unhurried(loop.call_soon)
    site = Site(responder, socket_peer, wheel, newcomers, 16384, 5.0, 0.1, pending)
    sock = bind(Address("127.0.0.1", 0))
    log = Log(lambda line: None)
    listener = Listener(sock, partial(HttpProtocol, site), loop, log, newcomers, sys.exit)
    try:
        yield listener.port
    finally:
        listener.close()
        await listener.opened()
        pending.drop_all()
        while len(pending):
            await asyncio.sleep(0)
        wheel.close()


@contextlib.asynccontextmanager
async def certified(
    directory: Path,
    account: Acme,
    responder: ChallengeResponder,
    *,
    timing: RenewalTiming = QUICK,
    ahead: float = 0.0,
) -> AsyncIterator[Certified]:
    """A renewal whose clock is ``ahead`` seconds fast."""
    cache = CertificateCache(directory / "cache")
    running = Certified(cache, responder)
    running.ahead = ahead
    issuer = Issuer(account, cache, responder, 10.0)
    renewal = Renewal(
        *(DOMAIN, issuer, cache, running.prepare, running.log, timing),
        clock=lambda: time.time() + running.ahead,
    )
    renewal.start()
    try:
        yield running
    finally:
        await renewal.stop()


@contextlib.asynccontextmanager
async def suggesting(ca: Pebble, start: str, end: str) -> AsyncIterator[str]:
    """The same CA as if it offered renewal information; yields the URL of its directory."""
    known = json.loads(await ca.get(ca.directory))
    window = {"suggestedWindow": {"start": start, "end": end}}

    def answer(url: str, head: bytes) -> tuple[int, Any]:
        ours = {"renewalInfo": f"{url}/ari"}
        return 200, window if head.startswith(b"GET /ari/") else known | ours

    async with https_server(ca.authority, answer) as url:
        yield f"{url}/dir"


@contextlib.asynccontextmanager
async def https_server(
    trusted: trustme.CA, answer: Callable[[str, bytes], tuple[int, Any]]
) -> AsyncIterator[str]:
    """Says as JSON what ``answer`` makes of its own URL and a request's head; yields that URL."""
    url = ""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if found := re.search(rb"(?i)content-length: (\d+)", head):
            await reader.readexactly(int(found[1]))
        status, value = answer(url, head)
        body = b"" if head.startswith(b"HEAD ") else json.dumps(value).encode()
        kind = b"json" if status == 200 else b"problem+json"
        writer.write(
            b"HTTP/1.1 %d Said\r\nContent-Type: application/%b\r\nConnection: close\r\n"
            b"Replay-Nonce: bm9uY2U\r\nContent-Length: %d\r\n\r\n%b"
            % (status, kind, len(body), body)
        )
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trusted.issue_cert("127.0.0.1").configure_cert(context)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield url


def account_of(ca: Pebble) -> Acme:
    return replace(at(ca.directory), email="ops@example.test", ca_file=str(ca.ca_file))


def at(directory: str) -> Acme:
    """A CA that need not be there."""
    nowhere = Address("127.0.0.1", 1)
    return Acme(domain=DOMAIN, http_listen=nowhere, cache=Path(), directory=directory)


async def test_issues_and_keeps_and_does_not_ask_again(tmp_path: Path) -> None:
    responder = ChallengeResponder()
    async with http_listener(responder) as port, pebble(tmp_path, port, nonce_reject=30) as ca:
        async with certified(tmp_path, account_of(ca), responder) as running:
            await running.until(installed=1)
        (pem,) = running.installed
        chain = x509.load_pem_x509_certificates(pem)
        root = x509.load_pem_x509_certificate(await ca.root())
        chain[0].verify_directly_issued_by(chain[1])
        chain[-1].verify_directly_issued_by(root)
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [DOMAIN]
        assert not len(responder)
        file = running.cache.certificate_file(DOMAIN)
        assert file.read_bytes() == pem
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        account_file = running.cache.account_file(ca.directory)
        assert stat.S_IMODE(account_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        account_key = account_file.read_bytes()
        async with certified(tmp_path, account_of(ca), responder) as again:
            await again.until(installed=1)
            await asyncio.sleep(0.2)  # several looks at the clock
        assert again.installed == [pem]
        assert account_file.read_bytes() == account_key


async def test_renews_before_it_expires(tmp_path: Path) -> None:
    responder = ChallengeResponder()
    async with http_listener(responder) as port, pebble(tmp_path, port, validity=3600) as ca:
        async with certified(tmp_path, account_of(ca), responder) as running:
            await running.until(installed=1)
            running.ahead = 2200  # more than a third is left
            await asyncio.sleep(0.2)
            assert len(running.installed) == 1
            running.ahead = 2450
            await running.until(installed=2)
            first, second = map(x509.load_pem_x509_certificate, running.installed)
            assert first.serial_number != second.serial_number


@contextlib.asynccontextmanager
async def forwarding(port: int, to: int) -> AsyncIterator[None]:
    """Passes on what comes to ``port``."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(pipe(reader, onward[1]), pipe(onward[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield


async def test_goes_on_when_the_ca_is_down_and_comes_back(tmp_path: Path) -> None:
    responder = ChallengeResponder()
    async with http_listener(responder) as port, pebble(tmp_path, port) as ca:
        door = free_port()
        account = replace(account_of(ca), directory=f"https://127.0.0.1:{door}/dir")
        async with certified(tmp_path, account, responder) as running:
            await running.until(said="Connection refused")
            assert not running.installed
            assert all(line.count("\n") == 1 for line in running.lines)
            async with forwarding(door, int(ca.directory.split(":")[2].split("/")[0])):
                await running.until(installed=1)


@pytest.mark.parametrize(("refusals", "why"), [(5, "no more for today"), (10_000, "badNonce")])
async def test_a_bad_nonce_is_tried_again_but_not_for_ever(
    tmp_path: Path, refusals: int, why: str
) -> None:
    """A CA that refuses so many nonces, and then the account for a reason of its own."""
    asked = 0

    def answer(url: str, head: bytes) -> tuple[int, dict[str, str]]:
        nonlocal asked
        if not head.startswith(b"POST "):
            return 200, {name: f"{url}/{name}" for name in ("newNonce", "newAccount", "newOrder")}
        asked += 1
        if asked <= refusals:
            return 400, {"type": "urn:ietf:params:acme:error:badNonce", "detail": "badNonce"}
        return 403, {"type": "urn:ietf:params:acme:error:rateLimited", "detail": why}

    trusted = trustme.CA()
    trusted.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with https_server(trusted, answer) as url:
        account = replace(at(f"{url}/dir"), ca_file=str(tmp_path / "ca.pem"))
        async with certified(
            tmp_path, account, ChallengeResponder(), timing=RenewalTiming()
        ) as running:
            await running.until(said="msg=certificate_failed")
        assert why in running.lines[0]
    assert asked == 6 if refusals == 5 else 6 <= asked <= 12


def test_renewal_is_due_with_a_third_left_or_a_little_earlier() -> None:
    timing, day = RenewalTiming(), 86400.0
    assert timing.due(0, 90 * day, 0) == pytest.approx(60 * day)
    assert timing.due(0, 90 * day, 1) == pytest.approx(57 * day)
    assert timing.due(0, 6 * day, 0) == pytest.approx(4 * day)


def test_tries_are_spaced_ever_wider_up_to_three_hours_each_by_chance() -> None:
    timing = RenewalTiming()
    assert [timing.back_off(n, 0.5) for n in (1, 2, 3, 4, 5)] == [60, 180, 540, 1620, 4860]
    assert timing.back_off(6, 0.5) == timing.back_off(10_000, 0.5) == 3 * 3600
    assert (timing.back_off(1, 0), timing.back_off(1, 1)) == pytest.approx((48, 72))


async def test_after_a_success_the_first_try_is_soon_again(tmp_path: Path) -> None:
    """Counted are failures in a row: many, a success, then one that starts anew."""
    cache, lines = CertificateCache(tmp_path / "cache"), list[str]()
    files = authority().issue(tmp_path, DOMAIN)
    good = files.key.read_bytes() + files.certificate.read_bytes()
    outcomes: list[bytes | None] = [None, None, None, good, None]
    spaced: list[int] = []

    class Recorded(RenewalTiming):
        def back_off(self, failures: int, random_fraction: float) -> float:
            spaced.append(failures)
            assert 0 <= random_fraction <= 1
            return 0.0

        def due(self, begin: float, end: float, random_fraction: float) -> float:
            return 0.0

    class Scripted:
        def obtain(self) -> bytes:
            pem = outcomes.pop(0) if outcomes else None
            if pem is None:
                raise IssuanceFailed("not now")
            return pem

        def cancel(self) -> None: ...

    log = Log(lines.append, "debug")
    renewal = Renewal(DOMAIN, Scripted(), cache, lambda file: lambda: None, log, Recorded())  # type: ignore[arg-type]
    renewal.start()
    async with asyncio.timeout(40):
        while len(spaced) < 4:
            await asyncio.sleep(0.001)
    await renewal.stop()
    assert spaced[:4] == [1, 2, 3, 1]


async def test_keeps_the_old_certificate_when_renewal_fails(tmp_path: Path) -> None:
    responder = ChallengeResponder()
    async with http_listener(responder) as port, pebble(tmp_path, port, validity=3600) as ca:
        async with certified(tmp_path, account_of(ca), responder) as running:
            await running.until(installed=1)
    async with certified(tmp_path, account_of(ca), responder, ahead=3000) as later:
        await later.until(said="msg=certificate_failed")
    assert later.installed == running.installed
    assert running.cache.certificate_file(DOMAIN).read_bytes() == running.installed[0]
    async with certified(tmp_path, account_of(ca), responder, ahead=4000) as too_late:
        await too_late.until(said="msg=certificate_failed")
    assert not too_late.installed  # it has expired


async def test_a_failed_challenge_is_named_and_tried_again(tmp_path: Path) -> None:
    responder = DeafResponder()
    async with http_listener(responder) as port, pebble(tmp_path, port) as ca:
        async with certified(tmp_path, account_of(ca), responder) as running:
            await running.until(said="could not validate the domain")
            assert any("404" in line for line in running.lines), running.lines
            responder.deaf = False
            await running.until(installed=1)


async def test_renews_when_the_ca_suggests_it(tmp_path: Path) -> None:
    responder = ChallengeResponder()
    async with http_listener(responder) as port, pebble(tmp_path, port) as ca:
        async with certified(tmp_path, account_of(ca), responder) as running:
            await running.until(installed=1)
        async with suggesting(ca, "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z") as directory:
            account = replace(account_of(ca), directory=directory)
            async with certified(tmp_path, account, responder) as running:
                await running.until(installed=2)
        async with suggesting(ca, "2090-01-01T00:00:00Z", "2090-01-02T00:00:00Z") as directory:
            account = replace(account_of(ca), directory=directory)
            async with certified(tmp_path, account, responder, ahead=2000) as running:
                await asyncio.sleep(0.2)  # several questions
        assert len(running.installed) == 1


async def test_a_suggestion_that_fails_is_said(tmp_path: Path) -> None:
    responder = ChallengeResponder()
    async with http_listener(responder) as port, pebble(tmp_path, port) as ca:
        async with certified(tmp_path, account_of(ca), responder) as running:
            await running.until(installed=1)
        async with suggesting(ca, "soon", "later") as directory:
            account = replace(account_of(ca), directory=directory)
            async with certified(tmp_path, account, responder) as running:
                await running.until(said="msg=certificate_no_suggestion")


async def test_stops_while_a_ca_hangs(tmp_path: Path) -> None:
    async with http_listener(ChallengeResponder()) as port:
        slow = at(f"https://127.0.0.1:{port}/dir")  # never answers a TLS hello
        timing = RenewalTiming(stop=0.01)
        async with certified(tmp_path, slow, ChallengeResponder(), timing=timing) as running:
            await asyncio.sleep(0.05)
        assert not running.installed


@pytest.mark.parametrize("content", [b"", b"not a certificate", b"\x00" * 4096])
async def test_an_unusable_cache_is_said_and_replaced(tmp_path: Path, content: bytes) -> None:
    cache = CertificateCache(tmp_path / "cache")
    cache.write(cache.certificate_file(DOMAIN), content)
    account = at("https://127.0.0.1:9/dir")
    async with certified(tmp_path, account, ChallengeResponder()) as running:
        await running.until(said="msg=certificate_unusable")
        await running.until(said="msg=certificate_failed")


# -- the whole ------------------------------------------------------------------------------------


def test_a_relay_with_a_domain_lives_through_a_renewal(tmp_path: Path) -> None:
    needs("pebble", "pebble")
    scene = f"exec {sys.executable} -W ignore -m tests.support.acme_scene {tmp_path}"
    run = run_sealed(tmp_path, {}, scene)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "wss://relay.example.org works" in run.stdout
    assert "renewed under a connection that stayed" in run.stdout
    assert "certificate_failed" not in run.stdout
