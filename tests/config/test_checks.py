"""The rules behind the refusals: addresses, networks, descriptors, privileges, files."""

import os
import socket
from pathlib import Path

import pytest

from fastrelay.config import checks
from fastrelay.config.checks import (
    check_privileges,
    client_ssl_context,
    share_descriptors,
)
from fastrelay.config.errors import ConfigurationError
from fastrelay.config.settings import Address
from fastrelay.net.bound_sockets import bind
from tests.support.certificates import authority


@pytest.mark.parametrize(
    ("descriptors", "wanted", "shares"),
    [
        (1_000_000, None, (10_000, 1_000)),
        (20_000, None, (10_000, 1_000)),
        (1_024, None, (864, 96)),
        (1_024, 864, (864, 96)),
        (1_024, 5, (5, 96)),
        (81, None, (1, 16)),
        (1_000_000, 500_000, (500_000, 1_000)),
    ],
)
def test_descriptors_shared(descriptors: int, wanted: int | None, shares: tuple[int, int]) -> None:
    assert share_descriptors(descriptors, wanted) == shares
    assert sum(shares) < descriptors


@pytest.mark.parametrize(
    ("descriptors", "wanted", "what", "fix"),
    [
        (1_024, 865, "--max-connections 865 needs more than the 1024", "at most 864"),
        (80, None, "may open 80 file descriptors, too few", "to 81 or more"),
        (80, 1, "may open 80 file descriptors, too few", "to 81 or more"),
    ],
)
def test_descriptors_too_few(descriptors: int, wanted: int | None, what: str, fix: str) -> None:
    with pytest.raises(ConfigurationError, match=what) as refusal:
        share_descriptors(descriptors, wanted)
    assert fix in refusal.value.fix


@pytest.mark.parametrize(
    ("held", "fine"), [(0, True), (1 << 10, True), (1 << 12, False), (1 << 10 | 1, False)]
)
def test_capabilities(
    held: int, fine: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    status.write_text(
        f"Name:\tx\nCapInh:\tffff\nCapPrm:\t{held:016x}\nCapEff:\t{0:016x}\nCapBnd:\tffff\n"
    )
    monkeypatch.setattr(checks, "_STATUS", status)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if fine:
        check_privileges(production=True)
    else:
        with pytest.raises(ConfigurationError, match="capabilities"):
            check_privileges(production=False)


def test_a_port_that_is_not_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(socket, "create_server", lambda *_, **__: given)
    with pytest.raises(OSError, match="asked for port 1"):
        bind(Address("127.0.0.1", 1))
    assert given.fileno() == -1


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_ca_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"--flag '{file}'") as refusal:
        client_ssl_context("--flag", str(file))
    assert "PEM certificates" in refusal.value.fix


def test_no_name_is_not_the_systems_ca_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--flag"):
        client_ssl_context("--flag", "")
    assert (
        len(client_ssl_context("--flag", str(authority().write(tmp_path / "ca"))).get_ca_certs())
        == 1
    )


def test_a_refusal_is_two_lines_whatever_it_quotes() -> None:
    refusal = ConfigurationError("a\nb\u2028c", "d\re")
    assert (refusal.what, refusal.fix) == ("a b c", "d e")
