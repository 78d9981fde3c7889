"""What the command refuses, and how it says so: exit code 2, what is wrong, how to fix it."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.support.ports import free_port
from fastrelay.config.flags import PRODUCTION, SINGLE_INSTANCE
from tests.support.command import LISTEN, refused, refused_process, what_and_fix
from tests.support.sealed import NOBODY, open_to_all, run_sealed


@contextmanager
def taken_port() -> Iterator[int]:
    """A port somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    "address", ["8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "::1:8080", ""]
)
def test_a_bad_address(address: str) -> None:
    what, fix = refused("--insecure-listen", address)
    assert "--insecure-listen" in what
    assert "is not HOST:PORT" in what
    assert "127.0.0.1:8080" in fix


def test_a_refusal_of_the_whole_command() -> None:
    what, _ = refused_process("--insecure-listen", b"\xff:80")
    assert what == "--insecure-listen '\\udcff:80' is not HOST:PORT"
    what, _ = refused_process("--max-phones=0", *LISTEN)
    assert what == "--max-phones '0' is not a whole number from 1 to 1099511627776"


@pytest.mark.parametrize("flag", ["--insecure-listen", "--metrics-listen"])
@pytest.mark.parametrize("port", ["0", "65536"])
def test_a_port_that_is_none(flag: str, port: str) -> None:
    what, _ = refused(*LISTEN, flag, f"127.0.0.1:{port}")
    assert what == f"{flag} '127.0.0.1:{port}' has no port from 1 to 65535"


@pytest.mark.parametrize("host", ["localhost", "", "0.0.0.0", "192.0.2.1", "[::]"])
def test_metrics_only_on_a_loopback_literal(host: str) -> None:
    what, fix = refused(*LISTEN, "--metrics-listen", f"{host}:9090")
    assert what == f"--metrics-listen '{host}:9090' is not a loopback address"
    assert "127.0.0.1:PORT" in fix


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--no-such-flag",), "there is no flag '--no-such-flag'"),
        (("--no-such\nflag",), "there is no flag '--no-such\\nflag'"),
        (("--no-such=s3cret",), "there is no flag '--no-such'"),
        (("--max-p", "3"), "there is no flag '--max-p'"),
        (("---max-phones", "3"), "there is no flag '---max-phones'"),
        (("--=3",), "there is no flag '--'"),
        (("-",), "there is no flag '-'"),
        (("stray",), "'stray' is no flag and belongs to none"),
        (("",), "'' is no flag and belongs to none"),
        (("--", "--max-phones"), "there is no flag '--'"),
        (("--grace",), "--grace has no value"),
        (("--grace", "--max-phones", "3"), "--grace has no value"),
        (("--grace", "-1"), "--grace '-1' is not a number from 0 to "),
        (("--max-phones", "0"), "--max-phones '0' is not a whole number from 1 to "),
        (("--max-connections-per-ip", "-1"), "'-1' is not a whole number from 0 to "),
        (("--max-message-bytes", "x"), "'x' is not a size from 125 to 64MiB"),
        (("--max-message-bytes", "67108865"), "is not a size from 125 to 64MiB"),
        (("--max-held-bytes", "0"), "'0' is not a size from 1 to 1024GiB"),
        (("--max-buffered-bytes", "0"), "'0' is not a size from 1 to 1024GiB"),
        (("--upgrade-refill", "0"), "'0' is not a number from 0.001 to "),
        (("--log-level", "loud"), "'loud' is not debug, info, warning or error"),
        (("--log-format", "xml"), "'xml' is not logfmt or json"),
        (("--https-proxy-protocol=yes",), "'yes' is neither true nor false"),
        (("--https-proxy-protocol=",), "'' is neither true nor false"),
    ],
    ids=" ".join,
)
def test_a_flag_that_makes_no_sense(arguments: tuple[str, ...], complaint: str) -> None:
    what, fix = refused(*LISTEN, *arguments)
    assert complaint in what
    assert fix
    assert "s3cret" not in what + fix


@pytest.mark.parametrize("networks", ["10.0.0.0/33", "10.0.0.1/8", "proxy", "10.0.0.0/8,", ""])
def test_a_trusted_network_that_is_none(networks: str) -> None:
    what, fix = refused(*LISTEN, "--trust-x-forwarded-for", networks)
    assert what.startswith("--trust-x-forwarded-for names no network: ")
    assert "10.0.0.0/8" in fix


def test_more_connections_than_descriptors() -> None:
    what, fix = refused(*LISTEN, "--max-connections", "1000000000")
    assert what.startswith("--max-connections 1000000000 needs more than the ")
    assert re.match(r"ask for at most \d+, or raise the limit \(ulimit -n", fix)


@pytest.mark.parametrize("flag", ["--insecure-listen", "--metrics-listen"])
def test_a_port_in_use(flag: str) -> None:
    with taken_port() as port:
        free = ("--insecure-listen", f"127.0.0.1:{free_port()}", "--metrics-listen", "")
        what, fix = refused_process(*free, flag, f"127.0.0.1:{port}")
    assert "Address already in use" in what
    assert str(port) in what
    assert what.startswith(f"{flag} 127.0.0.1:{port}: cannot listen: ")
    assert flag in fix


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_one_port_for_two_listeners(host: str) -> None:
    port = free_port()
    public = ("--insecure-listen", f"{host}:{port}")
    what, fix = refused_process(*public, "--metrics-listen", f"127.0.0.1:{port}")
    assert "Address already in use" in what
    flags = {"--insecure-listen", "--metrics-listen"}
    (other,) = flags - {what.split()[0]}
    assert fix == f"{other} names port {port} too: name another port with one of them"


def test_a_host_that_is_not_here() -> None:
    what, _ = refused_process("--insecure-listen", "192.0.2.1:8080", "--metrics-listen", "")
    assert "192.0.2.1" in what


# -- modes, environment, privileges -----------------------------------------------------------


def test_modes_that_exclude_one_another() -> None:
    what, fix = refused_process(*LISTEN, "--domain", "relay.example.org")
    assert what == "--insecure-listen and --domain exclude one another"
    assert fix == "give one of them"


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        (PRODUCTION, "1", f"--insecure-listen is refused while {PRODUCTION} is 1"),
        (PRODUCTION, "s3cret", f"{PRODUCTION} is neither 1 nor unset"),
        (SINGLE_INSTANCE, "s3cret", f"{SINGLE_INSTANCE} is neither 1 nor unset"),
        ("FLY_APP_NAME", "relay", f"{SINGLE_INSTANCE} is not set"),
    ],
)
def test_an_environment_that_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, what: str
) -> None:
    monkeypatch.setenv(name, value)
    said = refused_process(*LISTEN)
    assert what in said[0]
    assert "s3cret" not in "".join(said)


def test_a_certificate_that_is_not_there() -> None:
    files = ("--tls-cert", "/nowhere/c\nd", "--tls-key", "/nowhere/k")
    what, fix = refused_process(
        *files, "--https-listen", f"127.0.0.1:{free_port()}", "--metrics-listen="
    )
    assert what == "cannot serve TLS: /nowhere/c d: No such file or directory"
    assert fix.startswith("give --tls-cert a PEM chain")


PRIVILEGED = """\
{open_to_all}
start() {{ # flags of setpriv
    code=0
    setpriv "$@" {python} -m fastrelay --metrics-listen '' \
        --tls-cert /etc/hosts --tls-key /etc/hosts 2>&1 || code=$?
    echo "exit $code"
}}
one="--reuid {uid} --regid {uid} --clear-groups"
start $one --inh-caps=+net_raw --ambient-caps=+net_raw
start $one --inh-caps=+net_bind_service --ambient-caps=+net_bind_service
export {production}=1
start --no-new-privs
"""


def test_privileges_that_a_relay_does_not_need(tmp_path: Path) -> None:
    """One capability too many, the one it may have, and root in production, for real."""
    script = PRIVILEGED.format(
        open_to_all=open_to_all(), python=sys.executable, uid=NOBODY, production=PRODUCTION
    )
    run = run_sealed(tmp_path, {}, script)
    first, second, third = re.split(r"exit 2\n", run.stdout)[:3]
    assert "capabilities that a relay does not need (CapPrm 0x2000)" in what_and_fix(first)[0]
    assert what_and_fix(second)[0].startswith("cannot serve TLS: /etc/hosts")
    assert what_and_fix(third)[0] == "a relay in production does not run as root"


def test_a_cache_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "wide"
    directory.mkdir(mode=0o755)
    status = tmp_path / "status"
    status.write_text("CapPrm:\t0\n")
    monkeypatch.setattr("fastrelay.config.checks._STATUS", status)
    monkeypatch.setattr(os, "geteuid", lambda: directory.stat().st_uid + 1)
    listen = ("--https-listen", f"127.0.0.1:{free_port()}")
    listen += ("--http-listen", f"127.0.0.1:{free_port()}", "--metrics-listen=")
    cache = ("--domain", "relay.example.org", "--cert-cache", str(directory))
    what, fix = refused(*cache, *listen)
    assert what == f"--cert-cache: others can read '{directory}', and it is not ours"
    assert "chown" in fix


OTHER_PORT = """\
import socket, sys
from fastrelay.cli import main
create = socket.create_server
socket.create_server = lambda address, **options: create((address[0], 0), **options)
sys.exit(main())
"""


def test_a_port_that_is_not_the_one_asked_for() -> None:
    command = [sys.executable, "-c", OTHER_PORT, *LISTEN, "--workers", "1", "--metrics-listen", ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    what, _ = what_and_fix(done.stderr)
    assert re.fullmatch(
        r"--insecure-listen \S+: cannot listen: asked for port 8080 and got \d+", what
    )
