"""The directory that certificates and keys are kept in."""

import os
import stat
from pathlib import Path

import pytest

from fastrelay.acme.cache import CertificateCache
from fastrelay.config.errors import ConfigurationError
from fastrelay.config.flags import LETS_ENCRYPT


def test_a_wide_directory_of_ours_is_tightened(tmp_path: Path) -> None:
    directory = tmp_path / "wide"
    directory.mkdir(mode=0o755)
    assert CertificateCache(directory).tightened
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not CertificateCache(directory).tightened


def test_a_wide_directory_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "wide"
    directory.mkdir(mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: directory.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match="others can read"):
        CertificateCache(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


def test_a_certificate_is_kept_with_the_ca_that_issued_it(tmp_path: Path) -> None:
    """So that one of a CA for tests is not used any more when the flag is left out."""
    staging = "https://acme-staging-v02.api.letsencrypt.org/directory"
    files = {
        CertificateCache(tmp_path, directory).certificate_file("relay.example.org").name
        for directory in (LETS_ENCRYPT, staging, "https://ca.example:9000/dir")
    }
    assert files == {
        "relay.example.org.pem",
        "relay.example.org@https_acme-staging-v02.api.letsencrypt.org_directory.pem",
        "relay.example.org@https_ca.example_9000_dir.pem",
    }


def test_a_directory_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot use"):
        CertificateCache(tmp_path / "file")


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = CertificateCache(tmp_path / "cache")
    file = cache.certificate_file("relay.example.test")
    cache.write(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        cache.write(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
