"""Behind the shipped proxies, few bytes for a client are where no pong can pass them."""

import re
import sys
from pathlib import Path

import pytest

from tests.docs.test_deploy import CERTIFICATES, DEPLOY, certificates, laid_out  # noqa: F401
from tests.support.programs import needs
from tests.support.sealed import run_sealed

OWN_TLS = f"/etc/{CERTIFICATES}/fullchain.pem /etc/{CERTIFICATES}/privkey.pem"


@pytest.mark.parametrize(
    ("package", "example", "command", "port", "more"),
    [
        ("nginx-light", "nginx.conf", "nginx -c /etc/example -g 'daemon off;'", 8080, ""),
        ("haproxy", "haproxy.cfg", "haproxy -db -f /etc/example", 8080, ""),
        ("haproxy", "haproxy-tcp.cfg", "haproxy -db -f /etc/example", 8443, OWN_TLS),
    ],
    ids=["nginx", "haproxy", "haproxy-tcp"],
)
def test_a_pong_is_behind_little(
    certificates: dict[str, Path],  # noqa: F811
    tmp_path: Path,
    package: str,
    example: str,
    command: str,
    port: int,
    more: str,
) -> None:
    needs(command.split()[0], package)
    relay_and_proxy = f'{sys.executable} -m tests.support.behind_proxy "{command}" {port}'
    run = run_sealed(
        tmp_path,
        laid_out(certificates, tmp_path) | {"example": DEPLOY / example},
        f"{relay_and_proxy} {certificates['ca']} {more}",
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (before,) = re.findall(r"(\d+) frames before the pong", run.stdout)
    # Of 38, of 100 kB each; 38 without the settings, some 15 with them, more on a busy machine.
    assert int(before) < 36
