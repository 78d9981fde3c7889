"""Renewal among clocks that are wrong, files that are damaged, and CAs that answer nonsense."""

import asyncio
import contextlib
import os
import ssl
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from fastrelay.acme.cache import CertificateCache
from fastrelay.acme.issuer import IssuanceFailed, Issuer
from fastrelay.acme.network import retry_after
from fastrelay.acme.renewal import Renewal, RenewalTiming
from fastrelay.acme.responder import ChallengeResponder
from fastrelay.config.errors import ConfigurationError
from fastrelay.config.settings import Acme, Address, TlsFiles
from fastrelay.log import Log
from fastrelay.loop import daemon_thread
from fastrelay.loop.coalesced import Coalesced
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.tls.certificates import Certificates, UnusableCertificate
from fastrelay.net.tls.files import CertificateFiles
from tests.support.certificates import authority

DOMAIN = "relay.example.test"
QUICK = RenewalTiming(retry=0.02, max_retry=0.02, look=0.01, check=3600.0)


class ScriptedIssuer:
    """Gives what it was told to, one after the other, and refuses for ever after."""

    def __init__(self, *outcomes: bytes | Exception) -> None:
        self.outcomes = list(outcomes)
        self.orders = 0

    def obtain(self) -> bytes:
        self.orders += 1
        outcome = self.outcomes.pop(0) if self.outcomes else IssuanceFailed("not now")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def suggested_renewal(self, pem: bytes) -> None:
        return None

    def cancel(self) -> None: ...


class Scene:
    """A renewal, its cache and its clock."""

    def __init__(self, directory: Path, issuer: ScriptedIssuer, timing: RenewalTiming) -> None:
        self.now = time.time()
        self.lines: list[str] = []
        self.certificates = Certificates()
        self.cache = CertificateCache(directory)
        self.file = self.cache.certificate_file(DOMAIN)
        self.renewal = Renewal(
            *(DOMAIN, issuer, self.cache, self.prepare, Log(self.lines.append), timing),  # type: ignore[arg-type]
            clock=lambda: self.now,
        )

    def prepare(self, file: Path) -> Callable[[], None]:
        return self.certificates.prepare(file, file)

    def said(self, event: str) -> list[str]:
        return [line for line in self.lines if f"msg={event} " in line]

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(40):
            while not condition():
                await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def scene(
    directory: Path,
    issuer: ScriptedIssuer,
    *,
    cached: bytes | None = None,
    now: float | None = None,
    timing: RenewalTiming = QUICK,
) -> AsyncIterator[Scene]:
    running = Scene(directory, issuer, timing)
    running.now = running.now if now is None else now
    if cached is not None:
        running.cache.write(running.file, cached)
    running.renewal.start()
    try:
        yield running
    finally:
        await running.renewal.stop()


def issued(directory: Path, *, domain: str = DOMAIN, name: str = "relay") -> bytes:
    files = authority().issue(directory, domain, name=name)
    return files.key.read_bytes() + files.certificate.read_bytes()


async def test_a_clock_that_is_wrong_at_start_and_right_later(tmp_path: Path) -> None:
    issuer, cached = ScriptedIssuer(), issued(tmp_path)
    timing = RenewalTiming(retry=3600.0, look=0.01)
    async with scene(tmp_path / "c", issuer, cached=cached, now=1000.0, timing=timing) as running:
        await running.until(lambda: running.said("certificate_unusable"))
        assert "is the clock right" in running.lines[0]
        assert running.certificates.context is None
        running.now = time.time()
        await running.until(lambda: running.certificates.context)
    assert not issuer.orders
    assert running.file.read_bytes() == cached
    assert len(running.said("certificate_unusable")) == 1


async def test_a_clock_that_was_ahead_delays_no_retry(tmp_path: Path) -> None:
    issuer = ScriptedIssuer()
    async with scene(tmp_path / "c", issuer, now=time.time() + 1e8) as running:
        await running.until(lambda: issuer.orders >= 1)
        running.now = time.time()  # years back
        await running.until(lambda: issuer.orders >= 3)


async def test_a_clock_that_was_ahead_at_start_uses_the_cached_one_later(tmp_path: Path) -> None:
    issuer, cached = ScriptedIssuer(), issued(tmp_path)
    async with scene(tmp_path / "c", issuer, cached=cached, now=time.time() + 3.3e10) as running:
        await running.until(lambda: running.said("certificate_failed"))
        running.now = time.time()
        await running.until(lambda: running.certificates.context)


@pytest.mark.parametrize("fault", ["another key", "another name", "garbage", "empty"])
async def test_a_certificate_that_is_not_ours_overwrites_nothing(
    tmp_path: Path, fault: str
) -> None:
    good, other = issued(tmp_path), authority().issue(tmp_path, DOMAIN, name="other")
    new = {
        "another key": other.key.read_bytes() + good.partition(b"-----BEGIN CERT")[2],
        "another name": issued(tmp_path, domain="other.example.test", name="third"),
        "garbage": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "empty": b"",
    }[fault]
    if fault == "another key":
        key = other.key.read_bytes()
        new = key + b"-----BEGIN CERT" + good.partition(b"-----BEGIN CERT")[2]
    issuer = ScriptedIssuer(new)

    class DueNow(RenewalTiming):
        def due(self, begin: float, end: float, random_fraction: float) -> float:
            return 0.0

    timing = DueNow(retry=0.02, max_retry=0.02, look=0.01)
    async with scene(tmp_path / "c", issuer, cached=good, timing=timing) as running:
        await running.until(lambda: len(running.said("certificate_failed")) >= 2)
        context = running.certificates.context
        assert context is not None
    assert running.file.read_bytes() == good
    assert [path.name for path in (tmp_path / "c").iterdir()] == [running.file.name]
    assert "retry_in=" in running.said("certificate_failed")[0]


async def test_a_failed_read_or_thread_does_not_end_the_renewal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = issued(tmp_path)
    issuer = ScriptedIssuer(MemoryError(), RuntimeError("what?"), good)
    failing = [OSError(5, "Input/output error"), RuntimeError("can't start new thread")]
    start, read = daemon_thread._thread.start_new_thread, CertificateCache.read

    def starts(*arguments: Any) -> int:
        if len(failing) == 1:
            raise failing.pop()
        return start(*arguments)

    def reads(file: Path) -> bytes | None:
        if len(failing) == 2:
            raise failing.pop(0)
        return read(file)

    monkeypatch.setattr(daemon_thread._thread, "start_new_thread", starts)
    monkeypatch.setattr(CertificateCache, "read", staticmethod(reads))
    async with scene(tmp_path / "c", issuer) as running:
        await running.until(lambda: running.certificates.context)
    said = "".join(running.lines)
    assert "Input/output error" in said
    assert "can't start new thread" in said
    assert "MemoryError" in said
    assert "what?" not in said  # nobody expected that, so it is not quoted


async def test_a_reload_that_raises_serves_the_next_request(tmp_path: Path) -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, what: reported.append(what))
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError

    coalesced = Coalesced(work, 0.0)
    for wanted in (1, 2):
        coalesced.request()
        while calls < wanted:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
    await coalesced.stop()
    assert calls == 2
    assert len(reported) == 1


# -- what a CA wants -------------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "waited"), [(86400.0, 86400), (1e9, 86400), (0.0, 1)])
async def test_a_retry_after_is_kept_to(tmp_path: Path, wanted: float, waited: int) -> None:
    refusal = IssuanceFailed("too many")
    refusal.retry_after = wanted
    issuer = ScriptedIssuer(refusal)
    timing = RenewalTiming(retry=0.7, max_retry=0.7)
    async with scene(tmp_path / "c", issuer, timing=timing) as running:
        await running.until(lambda: running.said("certificate_failed"))
    assert f"retry_in={waited}s" in running.said("certificate_failed")[0]


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        *[("86400", 86400, 86400), ("0", 0, 0), ("", 0, 0), ("-5", 0, 0), ("soon", 0, 0)],
        *[("9" * 5000, 1e11, 1e12), ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0)],
        *[("Fri, 31 Dec 2190 23:59:59 GMT", 1e9, 1e10), ("\u0663", 0, 0)],
    ],
)
def test_what_a_retry_after_means(text: str, least: float, most: float) -> None:
    assert least <= retry_after(text) <= most


@pytest.mark.parametrize("content", [b"", b'{"kty": "EC", "crv"', b"\0" * 300, b"{}", b"\xff\xfe"])
def test_a_damaged_account_is_set_aside_and_made_anew(tmp_path: Path, content: bytes) -> None:
    cache = CertificateCache(tmp_path / "c")
    account = Acme(
        domain=DOMAIN,
        http_listen=Address("127.0.0.1", 1),
        cache=tmp_path / "c",
        directory="https://127.0.0.1:9/dir",
    )
    file, named = cache.account_file(account.directory), list[Path]()
    cache.write(file, content)
    issuer = Issuer(account, cache, ChallengeResponder(), 5.0, on_damaged=named.append)
    with pytest.raises(IssuanceFailed):
        issuer.obtain()
    made = file.read_bytes()
    assert made != content
    assert [path.read_bytes() for path in named] == [content]
    with pytest.raises(IssuanceFailed):
        issuer.obtain()
    assert file.read_bytes() == made
    assert len(named) == 1


# -- the directory ---------------------------------------------------------------------------------


def test_parents_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        CertificateCache(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    for directory in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / directory).stat().st_mode) == 0o700


def test_a_link_changes_no_mode_of_its_target(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        CertificateCache(tmp_path / "link")
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o755
    (tmp_path / "target").chmod(0o700)
    CertificateCache(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused_to_root(tmp_path: Path) -> None:
    directory = tmp_path / "theirs"
    directory.mkdir(mode=0o700)
    os.chown(directory, 12345, 12345)
    with pytest.raises(ConfigurationError, match="another user owns"):
        CertificateCache(directory)


def test_a_parent_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    parent = tmp_path / "open"
    parent.mkdir()
    parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match="every user can rename"):
        CertificateCache(parent / "c")
    parent.chmod(0o1777)
    CertificateCache(parent / "c")


def test_files_left_by_a_kill_are_swept(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    CertificateCache(directory)
    for name in (".new-abc", f".new-{os.getpid()}-x", ".new-99999999-y", f".new-{os.getppid()}-z"):
        (directory / name).touch()
    CertificateCache(directory)
    assert [path.name for path in directory.iterdir()] == [f".new-{os.getppid()}-z"]


# -- certificates of somebody else -----------------------------------------------------------------


@contextlib.asynccontextmanager
async def watched(
    files: TlsFiles, **options: bool
) -> AsyncIterator[tuple[Certificates, list[str]]]:
    certificates, lines = Certificates(), list[str]()
    wheel = TimerWheel(asyncio.get_running_loop(), 0.005)
    source = CertificateFiles(files, certificates, wheel, 0.01, 0.0, Log(lines.append), **options)
    source.start()
    try:
        yield certificates, lines
    finally:
        await source.stop()
        wheel.close()


async def test_a_file_that_becomes_readable_with_the_same_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, fresh = authority().issue(tmp_path), authority().issue(tmp_path, name="next")
    load, denied = ssl.SSLContext.load_cert_chain, True

    def loads(self: ssl.SSLContext, *arguments: Any, **options: Any) -> None:
        if denied:
            raise PermissionError(13, "Permission denied", str(arguments[1]))
        load(self, *arguments, **options)

    async with watched(files) as (certificates, lines):
        before = certificates.context
        monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", loads)
        files.certificate.write_bytes(fresh.certificate.read_bytes())
        files.key.write_bytes(fresh.key.read_bytes())
        async with asyncio.timeout(40):
            while not lines:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.1)  # several checks
            denied = False
            while certificates.context is before:
                await asyncio.sleep(0.005)
    assert sum("certificate_refused" in line for line in lines) <= 2  # not one a check
    assert "Permission denied" in lines[0]
    assert "not_after=" in lines[-1]


async def test_files_of_another_process_may_be_bad_at_start(tmp_path: Path) -> None:
    files = authority().issue(tmp_path)
    good = files.certificate.read_bytes()
    files.certificate.write_bytes(b"")
    async with watched(files, may_be_missing=True) as (certificates, lines):
        assert "certificate_refused" in lines[0]
        files.certificate.write_bytes(good)
        async with asyncio.timeout(40):
            while certificates.context is None:
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("content", [None, b"", b"nonsense", "other"])
@pytest.mark.parametrize("of", ["certificate", "key"])
def test_the_file_that_is_at_fault_is_named(
    tmp_path: Path, of: str, content: bytes | str | None
) -> None:
    files, other = authority().issue(tmp_path), authority().issue(tmp_path, name="other")
    bad = getattr(files, of)
    if content is None:
        bad.unlink()
    else:
        bad.write_bytes(content if isinstance(content, bytes) else getattr(other, of).read_bytes())
    with pytest.raises(UnusableCertificate) as caught:
        Certificates().install(files.certificate, files.key)
    if content == "other":
        assert str(caught.value).startswith(f"{files.key} is not the key of {files.certificate}")
    else:
        assert str(caught.value).startswith(f"{bad}: ")
