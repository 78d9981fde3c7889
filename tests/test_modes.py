"""Flags and environment: every configuration that is refused, and what the others mean."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from fastrelay import preflight
from fastrelay.flags import make_parser
from fastrelay.modes import PRODUCTION, SINGLE_INSTANCE, read_settings
from fastrelay.net.listener import bind
from fastrelay.notify import Notifier
from fastrelay.preflight import Refusal, check_privileges
from fastrelay.settings import Acme, Address, Settings, TlsFiles
from tests.support.certificates import local_certificate
from tests.support.process import free_port

PLAIN = ("--insecure-listen", "127.0.0.1:8080")
FILES = ("--tls-cert", "c.pem", "--tls-key", "k.pem")
DOMAIN = ("--domain", "relay.example.org")


def read(*arguments: str, **environment: str) -> Settings:
    return read_settings(make_parser().parse_args(arguments), environment)


# -- modes -----------------------------------------------------------------------------------------


def test_plain_is_plain() -> None:
    settings = read(*PLAIN)
    assert (settings.listen, settings.tls) == (Address("127.0.0.1", 8080), None)
    assert settings.proxy_headers is None


def test_files() -> None:
    settings = read(*FILES, "--https-proxy-protocol", "--proxy-protocol-from", "10.0.0.0/8")
    assert settings.listen == Address("", 443)
    assert settings.tls == TlsFiles(certificate=Path("c.pem"), key=Path("k.pem"))
    assert settings.proxy_headers == (ip_network("10.0.0.0/8"),)
    assert read(*FILES, "--https-proxy-protocol").proxy_headers == ()


def test_domain() -> None:
    acme = read("--domain", "Relay.Example.ORG", "--acme-email", "a@b.test").tls
    assert isinstance(acme, Acme)
    assert acme.domain == "relay.example.org"
    assert acme.http_listen == Address("", 80)
    assert acme.cache == Path("~/.fastrelay/certs").expanduser()
    assert acme.directory.startswith("https://acme-v02.api.letsencrypt.org/")
    assert (acme.email, acme.ca_file) == ("a@b.test", None)


REFUSED = {
    "two modes": ((*PLAIN, *DOMAIN), "exclude one another"),
    "files and plain": ((*PLAIN, *FILES), "exclude one another"),
    "files and domain": ((*FILES, *DOMAIN), "exclude one another"),
    "a certificate without a key": (("--tls-cert", "c"), "--tls-key is missing"),
    "a key without a certificate": (("--tls-key", "k"), "--tls-cert is missing"),
    **{
        f"plain with {flag[0]}": ((*PLAIN, *flag), f"{flag[0]} does nothing")
        for flag in (
            ("--https-listen", ":443"),
            ("--http-listen", ":80"),
            ("--cert-cache", "d"),
            ("--acme-directory", "https://x"),
            ("--acme-email", "e"),
            ("--acme-ca-file", "f"),
            ("--https-proxy-protocol",),
            ("--proxy-protocol-from", "10.0.0.0/8"),
        )
    },
    **{
        f"files with {flag[0]}": ((*FILES, *flag), f"{flag[0]} does nothing")
        for flag in (
            ("--http-listen", ":80"),
            ("--cert-cache", "d"),
            ("--acme-directory", "https://x"),
            ("--acme-email", "e"),
            ("--acme-ca-file", "f"),
        )
    },
    "networks without headers": ((*FILES, "--proxy-protocol-from", "10.0.0.0/8"), "does nothing"),
    "a domain of one word": (("--domain", "localhost"), "is not a domain name"),
    "an address": (("--domain", "192.0.2.1"), "is not a domain name"),
    "a URL": (("--domain", "https://relay.example.org"), "is not a domain name"),
    "a CA over http": ((*DOMAIN, "--acme-directory", "http://ca"), "is not an https URL"),
    "no such CA file": ((*DOMAIN, "--acme-ca-file", "/nowhere"), "cannot read"),
    "port 0": ((*DOMAIN, "--https-listen", ":0"), "--https-listen"),
}


@pytest.mark.parametrize(("arguments", "what"), REFUSED.values(), ids=REFUSED)
def test_refused(arguments: tuple[str, ...], what: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(*arguments)
    assert what in refused.value.what
    assert refused.value.fix
    assert "\n" not in refused.value.what + refused.value.fix


def test_domain_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Refusal, match="needs the extra acme") as refused:
        read(*DOMAIN)
    assert "pip install 'fastrelay[acme]'" in refused.value.fix


# -- environment -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [PRODUCTION, SINGLE_INSTANCE])
@pytest.mark.parametrize("value", ["", "0", "true", "s3cret"])
def test_a_switch_is_1_or_unset(name: str, value: str) -> None:
    with pytest.raises(Refusal, match=name) as refused:
        read(*FILES, **{name: value})
    assert not value or value not in (refused.value.what + refused.value.fix).split()


def test_production_refuses_plain_http() -> None:
    with pytest.raises(Refusal, match="--insecure-listen is refused"):
        read(*PLAIN, **{PRODUCTION: "1"})


def test_production_refuses_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Refusal, match="does not run as root"):
        read(*FILES, **{PRODUCTION: "1"})
    assert read(*FILES).tls


def test_a_platform_that_may_run_copies() -> None:
    with pytest.raises(Refusal, match=SINGLE_INSTANCE):
        read(*FILES, FLY_APP_NAME="relay")
    assert read(*FILES, FLY_APP_NAME="relay", **{SINGLE_INSTANCE: "1"}).tls


@pytest.mark.parametrize(
    ("held", "fine"), [(0, True), (1 << 10, True), (1 << 12, False), (1 << 10 | 1, False)]
)
def test_capabilities(
    held: int, fine: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapPrm:\tffff\nCapEff:\t{held:016x}\nCapBnd:\tffff\n")
    monkeypatch.setattr(preflight, "_STATUS", status)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if fine:
        check_privileges(production=True)
    else:
        with pytest.raises(Refusal, match="capabilities"):
            check_privileges(production=False)


def test_a_port_that_is_not_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(socket, "create_server", lambda *_, **__: given)
    with pytest.raises(OSError, match="asked for port 1"):
        bind(Address("127.0.0.1", 1))
    assert given.fileno() == -1


# -- as a process ----------------------------------------------------------------------------------


def start(*flags: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "fastrelay", "--metrics-listen", "", *flags],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def said(process: "subprocess.Popen[str]", event: str) -> str:
    """The next line for ``event``."""
    assert process.stderr
    for line in process.stderr:
        if f"msg={event}" in line:
            return line
    raise AssertionError(f"{event} was not said")


@pytest.mark.parametrize(
    ("flags", "environment", "what"),
    [
        ((*PLAIN, *DOMAIN), {}, "exclude one another"),
        (PLAIN, {PRODUCTION: "1"}, "refused"),
        (PLAIN, {"FLY_APP_NAME": "x"}, SINGLE_INSTANCE),
        (("--tls-cert", "/nowhere/c", "--tls-key", "/nowhere/k"), {}, "cannot serve TLS"),
    ],
)
def test_a_refusal_is_two_lines_and_exit_2(
    flags: tuple[str, ...], environment: Mapping[str, str], what: str
) -> None:
    with start(*flags, **environment) as process:
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 2
    lines = stderr.splitlines()
    assert len(lines) == 2, stderr
    assert what in lines[0]


def test_sighup_reads_certificates_and_systemd_is_told(tmp_path: Path) -> None:
    files = local_certificate()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        arguments = ("--tls-cert", str(files.certificate), "--tls-key", str(files.key))
        listen = ("--https-listen", f"127.0.0.1:{free_port()}")
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        with start(*arguments, *listen, **environment) as process:
            assert "mode=tls" in said(process, "starting")
            assert systemd.recv(100) == b"READY=1"
            process.send_signal(signal.SIGHUP)
            said(process, "certificate_installed")
            assert systemd.recv(100) == b"WATCHDOG=1"
            process.send_signal(signal.SIGTERM)
            while (message := systemd.recv(100)) == b"WATCHDOG=1":
                pass
            assert message == b"STOPPING=1"
            assert process.wait(20) == 0


def test_nobody_to_notify(tmp_path: Path) -> None:
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
    other = {"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}
    assert Notifier(other).watchdog == 0
    assert Notifier({"WATCHDOG_USEC": "5000000"}).watchdog == 5
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog == 0


BREAKS_ITS_LISTENER = """\
import asyncio, socket, sys
from fastrelay.cli import main
from fastrelay.net.listener import Listener
made = Listener.__init__
def make(self, sock, *rest):
    made(self, sock, *rest)
    asyncio.get_running_loop().call_later(0.3, sock.shutdown, socket.SHUT_RDWR)
Listener.__init__ = make
sys.exit(main())
"""


def test_a_listener_that_breaks_ends_the_process_with_1_after_a_drain() -> None:
    listen = ("--insecure-listen", f"127.0.0.1:{free_port()}", "--metrics-listen", "")
    run = subprocess.run(
        [sys.executable, "-c", BREAKS_ITS_LISTENER, *listen],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    events = [word for word in run.stderr.split() if word.startswith("msg=")]
    assert events[-3:] == ["msg=listener_failed", "msg=draining", "msg=stopped"]
