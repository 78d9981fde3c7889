"""The shipped examples, exactly as they are, in front of a real relay."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import trustme
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.programs import needs
from tests.support.sealed import ADDRESS, run_sealed

DEPLOY = Path(__file__).parents[1] / "docs" / "deploy"
LOCK = DEPLOY / "requirements.lock"
CERTIFICATES = "ssl/relay.example.org"

PROBE_BEHIND_A_PROXY = """\
{python} -m fastrelay --insecure-listen 127.0.0.1:8080 --trust-x-forwarded-for 127.0.0.0/8 \\
    2>{log} &
relay=$!
until grep -q msg=starting {log}; do sleep 0.05; done
{proxy} &
until {python} -c 'import socket; socket.create_connection(("127.0.0.1", 443)).close()' \\
    2>/dev/null; do sleep 0.05; done
{python} -m fastrelay probe wss://relay.example.org --ca-file {ca}
kill $relay
wait $relay
"""


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Path]:
    """What the examples expect to find, and the CA (``ca``) to verify it with."""
    authority = trustme.CA()
    certificate = authority.issue_cert("relay.example.org")
    files = {
        name: tmp_path / name for name in ("fullchain.pem", "privkey.pem", "combined.pem", "ca")
    }
    authority.cert_pem.write_to_path(str(files["ca"]))
    certificate.private_key_pem.write_to_path(str(files["privkey.pem"]))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(files["combined.pem"]))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(files["fullchain.pem"]), append=True)
    return files


@pytest.mark.parametrize(
    ("program", "package", "example", "command"),
    [
        ("nginx", "nginx-light", "nginx.conf", "nginx -c /etc/example -g 'daemon off;'"),
        ("haproxy", "haproxy", "haproxy.cfg", "haproxy -db -f /etc/example"),
    ],
)
def test_the_probe_passes_through_a_proxy(
    certificates: dict[str, Path],
    tmp_path: Path,
    program: str,
    package: str,
    example: str,
    command: str,
) -> None:
    needs(program, package)
    files = {f"{CERTIFICATES}/{name}": file for name, file in certificates.items() if name != "ca"}
    log = tmp_path / "relay.log"
    run = run_sealed(
        tmp_path,
        files | {"example": DEPLOY / example},
        PROBE_BEHIND_A_PROXY.format(
            python=sys.executable, log=log, proxy=command, ca=certificates["ca"]
        ),
    )
    assert run.returncode == 0, run.stdout + run.stderr + log.read_text()
    assert "wss://relay.example.org works" in run.stdout
    claimed = [line for line in log.read_text().splitlines() if "msg=server_claimed" in line]
    assert claimed
    assert all(f"remote={ADDRESS}" in line for line in claimed)


def test_the_other_haproxy_example_is_valid() -> None:
    needs("haproxy", "haproxy")
    checked = subprocess.run(
        [
            shutil.which("haproxy", path="/usr/sbin:/usr/bin") or "",
            "-c",
            "-f",
            DEPLOY / "haproxy-tcp.cfg",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_the_caddy_example_is_valid() -> None:
    needs("caddy", "caddy")
    checked = subprocess.run(
        ["caddy", "validate", "--config", DEPLOY / "Caddyfile", "--adapter", "caddyfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_the_lock_has_what_the_project_needs() -> None:
    project = tomllib.loads((DEPLOY.parents[1] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = map(Requirement, (*project["dependencies"], *extras["acme"], *extras["push"]))
    pins = re.findall(r"^([a-z0-9_.-]+)==(\S+) \\\n    --hash", LOCK.read_text(), re.MULTILINE)
    locked = {canonicalize_name(name): version for name, version in pins}
    for requirement in needed:
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement
    assert "://" not in LOCK.read_text()
