"""``fastrelay check``: what would run, without running it; and what ``starting`` says of it."""

import json
import re
import socket
import sys
from pathlib import Path

import pytest

from bench.support.ports import free_port
from fastrelay.cli import main
from fastrelay.config.flags import FLAGS, look_up
from fastrelay.config.settings import Address, Settings
from fastrelay.log import BOOT_KEYS, Log
from fastrelay.process import run as process
from tests.support.certificates import authority
from tests.support.command import run, what_and_fix


def table(said: str) -> dict[str, list[str]]:
    """The rows: value and origin by flag."""
    rows = (re.split(r"\s{2,}", line.strip()) for line in said.splitlines() if line[:2] == "  ")
    return {row[0]: row[1:] for row in rows}


def test_it_says_what_would_run_and_who_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fastrelay.toml"
    file.write_text('grace = 2.5\ntrust-x-forwarded-for = ["10.0.0.0/8", "::1"]\n')
    monkeypatch.setenv("FASTRELAY_MAX_HELD_BYTES", "1GiB")
    monkeypatch.setenv("FASTRELAY_SERVICE_HOST", "10.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        code = main(["check", "-insecure-listen", listen, "--config", str(file)])
    output = capsys.readouterr()
    assert (code, output.err) == (0, "")
    rows = table(output.out)
    assert f"would serve plain HTTP on {listen}" in output.out
    assert "push is off" in output.out
    assert "these variables are ignored: FASTRELAY_SERVICE_HOST" in output.out
    assert rows["insecure-listen"] == [listen, "--insecure-listen"]
    assert rows["max-held-bytes"] == ["1GiB", "FASTRELAY_MAX_HELD_BYTES (environment)"]
    assert rows["grace"] == ["2.5", f"grace (in '{file}')"]
    assert rows["trust-x-forwarded-for"] == [
        "10.0.0.0/8,::1/128",
        f"trust-x-forwarded-for (in '{file}')",
    ]
    assert rows["max-phones"] == ["16", "default"]
    assert {flag.key for flag in FLAGS.values() if flag.limit} <= rows.keys()


@pytest.mark.parametrize(
    ("given", "cap"),
    [
        ((), "64, loopback and private peers: none"),
        (("--max-connections-per-ip", "3"), "3"),
        (("--max-connections-per-ip", "0"), "none"),
    ],
)
def test_it_says_for_whom_the_cap_of_an_address_holds(
    given: tuple[str, ...], cap: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listen = ("--insecure-listen", "127.0.0.1:8080", "--max-connections", "100")
    assert main(["check", *listen, *given]) == 0
    assert table(capsys.readouterr().out)["max-connections-per-ip"][0] == cap


def test_nothing_is_bound_and_no_directory_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bind(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(socket.socket, "bind", bind)
    cache = tmp_path / "cache"
    arguments = ("--domain", "relay.example.org", "--cert-cache", str(cache))
    assert main(["check", *arguments]) == 0
    assert not cache.exists()


def test_certificates_are_read_and_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = authority().issue(tmp_path, "relay.example.org")
    chain, key = files.certificate, files.key
    assert main(["check", "--tls-cert", str(chain), "--tls-key", str(key)]) == 0
    said = capsys.readouterr().out
    assert "would serve TLS on :443" in said
    assert re.search(r"; the certificate expires at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", said)
    chain.write_text("")
    assert main(["check", "--tls-cert", str(chain), "--tls-key", str(key)]) == 2
    assert "cannot serve TLS" in what_and_fix(capsys.readouterr().err)[0]


def test_what_would_not_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--insecure-listen", "x"]) == 2
    assert "is not HOST:PORT" in what_and_fix(capsys.readouterr().err)[0]
    assert main(["check"]) == 2
    assert "no listener was asked for" in capsys.readouterr().err


def test_where_it_cannot_be_written_the_exit_code_tells() -> None:
    import subprocess

    with open("/dev/full", "w") as full:
        for arguments, code in (
            (("check", "--insecure-listen", "127.0.0.1:1"), 0),
            (("--help",), 1),
            (("--version",), 1),
            (("check", "--insecure-listen", "x"), 2),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "fastrelay", *arguments], stdout=full, stderr=full
            )
            assert done.returncode == code, arguments


def test_the_push_credential_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.google import key_file, secrets

    monkeypatch.setenv("PYRYCODE_RELAY_FCM_CREDENTIALS", json.dumps(key_file()))
    done = run("check", "--insecure-listen", f"127.0.0.1:{free_port()}")
    assert "push is on" in done.stdout
    assert not [secret for secret in secrets() if secret in done.stdout + done.stderr]


def test_starting_has_every_limit_in_effect() -> None:
    lines: list[str] = []
    settings = Settings(listen=Address("", 1), unknown_variables=("FASTRELAY_PORT",))
    process.log_startup(settings, Log(lines.append, as_json=True))
    starting, unknown = map(json.loads, lines)
    limits = [flag for flag in FLAGS.values() if flag.limit]
    assert len(limits) >= 7
    for flag in limits:
        assert flag.log_key in BOOT_KEYS
        assert flag.log_key in starting, "log_startup leaves it out"
        assert starting[flag.log_key] == look_up(settings, flag.setting)
    assert (unknown["level"], unknown["msg"]) == ("WARN", "unknown_variables")
    assert "FASTRELAY_PORT" in unknown["err"]


def test_every_numeric_limit_of_the_table_is_logged() -> None:
    """All but what ``address_cap`` says, and the old name of another."""
    others = {"--max-connections-per-ip", "--max-buffered-bytes"}
    numeric = {
        flag.name for flag in FLAGS.values() if flag.metavar in {"N", "N|auto", "SIZE", "SECONDS"}
    } - others
    assert numeric == {flag.name for flag in FLAGS.values() if flag.limit}
