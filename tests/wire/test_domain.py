"""A relay with ``--domain`` and a certificate from an earlier run, whose CA is not there."""

import signal
import ssl
import stat
import subprocess
from pathlib import Path

import pytest

from bench.support.ports import free_port
from fastrelay.acme.cache import certificate_file
from fastrelay.config.settings import Acme, Address
from tests.support.certificates import authority
from tests.support.command import COMMAND, started
from tests.support.harness import running_relay
from tests.support.peer import HttpClient, open_http, request, upgrade_headers

NAME = "relay.example.org"
NO_CA = "https://127.0.0.1:9/dir"
PHONE = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t"}


def kept(directory: Path) -> Path:
    """A cache directory with a good certificate in it."""
    files = authority().issue(directory, NAME)
    cache = directory / "cache"
    cache.mkdir(mode=0o700)
    content = files.key.read_bytes() + files.certificate.read_bytes()
    certificate_file(cache, NAME, NO_CA).write_bytes(content)
    return cache


async def test_the_certificate_of_another_ca_is_not_used(tmp_path: Path) -> None:
    acme = Acme(
        domain=NAME,
        http_listen=Address("127.0.0.1", 0),
        cache=kept(tmp_path),
        directory=f"{NO_CA}/of-another",
    )
    async with running_relay(tls=acme) as relay:
        await relay.until(lambda: relay.log_of("certificate_failed"))
        assert not relay.log_of("certificate_installed")


def any_name() -> ssl.SSLContext:
    """Trusts the tests' CA, whatever name it vouches for."""
    context = authority().context()
    context.check_hostname = False
    return context


async def status_of(client: HttpClient, path: str, host: str, **headers: str) -> int:
    client.send(request(path, {"Host": host, **headers}))
    return (await client.response())[0]


PUBLIC = {"X-Forwarded-For": "203.0.113.7"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (NAME, 200),
        (f"{NAME}:443", 200),
        (f"{NAME}.", 200),
        (NAME.upper(), 200),
        ("other.example.org", 421),
        (f"{NAME}.example.net", 421),
        (f"sub.{NAME}", 421),
        ("127.0.0.1", 421),
        ("[::1]", 421),
        ("", 421),
    ],
)
async def test_another_host_is_misdirected(tmp_path: Path, host: str, status: int) -> None:
    acme = Acme(
        domain=NAME, http_listen=Address("127.0.0.1", 0), cache=kept(tmp_path), directory=NO_CA
    )
    async with running_relay(tls=acme, trusted_proxies=()) as relay:
        async with await open_http(relay.port, any_name()) as client:
            assert await status_of(client, "/healthz", host, **PUBLIC) == status
        async with await open_http(relay.port, any_name()) as client:  # health checks by address
            assert await status_of(client, "/healthz", host) == 200
        for address in {}, PUBLIC:
            async with await open_http(relay.port, any_name()) as client:
                head = upgrade_headers(PHONE | address)
                wanted = 101 if status == 200 else 421
                assert await status_of(client, "/v1/client", host, **head) == wanted
        async with await open_http(relay.relay.ports[2]) as plain:  # the challenges
            assert await status_of(plain, "/healthz", host) == 404


async def test_the_host_of_an_absolute_target_goes_before_the_header(tmp_path: Path) -> None:
    acme = Acme(
        domain=NAME, http_listen=Address("127.0.0.1", 0), cache=kept(tmp_path), directory=NO_CA
    )
    async with running_relay(tls=acme) as relay:
        for named, host, status in (NAME, "other.test", 101), ("other.test", NAME, 421):
            async with await open_http(relay.port, any_name()) as client:
                target = f"https://{named}/v1/client"
                assert await status_of(client, target, host, **upgrade_headers(PHONE)) == status


def until(process: subprocess.Popen[str], event: str) -> list[str]:
    """The lines up to that of an event; the CA that is away may be complained of between."""
    assert process.stderr
    lines = []
    for line in process.stderr:
        lines.append(line)
        if f"msg={event} " in line:
            return lines
    raise AssertionError(lines)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_wide_cache_of_ours_is_tightened_and_said(workers: str, tmp_path: Path) -> None:
    cache = kept(tmp_path)
    cache.chmod(0o755)
    flags = ("--domain", NAME, "--cert-cache", str(cache), "--acme-directory", NO_CA)
    flags += ("--https-listen", f"127.0.0.1:{free_port()}", "--metrics-listen", "")
    flags += ("--http-listen", f"127.0.0.1:{free_port()}", "--workers", workers)
    with started(*COMMAND, *flags, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        first = next(process.stderr)
        assert f"level=WARN msg=cert_cache_tightened path={cache}" in first
        assert any("msg=certificate_installed" in line for line in until(process, "starting"))
        process.send_signal(signal.SIGHUP)
        until(process, "certificate_installed")
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
