"""The certificate that a Go relay has left in the cache, in the file of its library autocert."""

import contextlib
import os
import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from fastrelay.acme.cache import CertificateCache
from fastrelay.config.settings import Acme, Address
from tests.acme.test_renewal_surroundings import DOMAIN, ScriptedIssuer, issued, scene
from tests.support.certificates import authority
from tests.support.harness import START, relay_with_workers, running_relay
from tests.support.peer import open_http, request
from tests.wire.test_domain import NAME, NO_CA, any_name

OTHERS = {f"{DOMAIN}+rsa": b"rsa", "acme_account+key": b"account", f"{DOMAIN}+token": b"token"}


def of_autocert(directory: Path, domain: str = DOMAIN) -> bytes:
    """Key and chain as autocert writes them: the key in the form of its algorithm."""
    files = authority().issue(directory, domain)
    key = load_pem_private_key(files.key.read_bytes(), password=None)
    form = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return form + files.certificate.read_bytes()


def left_behind(directory: Path, content: bytes, domain: str = DOMAIN) -> Path:
    """A cache of a Go relay; returns the file of its certificate."""
    directory.mkdir(mode=0o700)
    for name, other in OTHERS.items():
        (directory / name).write_bytes(other)
    file = directory / domain
    file.write_bytes(content)
    return file


def assert_untouched(file: Path, content: bytes) -> None:
    assert file.read_bytes() == content
    for name, other in OTHERS.items():
        assert (file.parent / name).read_bytes() == other


async def test_it_is_used_and_copied_and_left_alone(tmp_path: Path) -> None:
    content, issuer = of_autocert(tmp_path), ScriptedIssuer()
    theirs = left_behind(tmp_path / "c", content)
    async with scene(tmp_path / "c", issuer) as running:
        assert running.certificates.context is not None
        assert len(running.said("certificate_installed")) == 1
        assert running.file.read_bytes() == content
        assert stat.S_IMODE(running.file.stat().st_mode) == 0o600
    assert not issuer.orders
    assert_untouched(theirs, content)


async def test_our_own_file_comes_first(tmp_path: Path) -> None:
    own, content = issued(tmp_path), of_autocert(tmp_path)
    theirs = left_behind(tmp_path / "c", content)
    async with scene(tmp_path / "c", ScriptedIssuer(), cached=own) as running:
        assert running.certificates.context is not None
        assert running.file.read_bytes() == own
    assert_untouched(theirs, content)


async def test_one_that_has_expired_is_named_and_a_new_one_ordered(tmp_path: Path) -> None:
    content, new = of_autocert(tmp_path), issued(tmp_path, name="new")
    theirs, issuer = left_behind(tmp_path / "c", content), ScriptedIssuer(new)
    years_later = time.time() + 3.3e10
    async with scene(tmp_path / "c", issuer, now=years_later) as running:
        await running.until(lambda: running.certificates.context)
        (line,) = running.said("certificate_unusable")
        assert f"path={theirs} " in line
        assert "has expired" in line
        assert running.file.read_bytes() == new
    assert_untouched(theirs, content)


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
async def test_what_is_no_certificate_is_left_alone(content: bytes | None, tmp_path: Path) -> None:
    new = issued(tmp_path)
    issuer = ScriptedIssuer(new)
    theirs = left_behind(tmp_path / "c", content or b"")
    if content is None:
        theirs.unlink()
        theirs.mkdir()
    async with scene(tmp_path / "c", issuer) as running:
        await running.until(lambda: running.certificates.context)
        assert f"path={theirs} " in running.said("certificate_unusable")[0]
        assert running.file.read_bytes() == new


async def test_it_may_come_while_the_relay_runs(tmp_path: Path) -> None:
    async with scene(tmp_path / "c", ScriptedIssuer()) as running:
        content = of_autocert(tmp_path)
        new = tmp_path / "c" / "new"
        new.write_bytes(content)
        os.replace(new, running.cache.autocert_file(DOMAIN))
        running.renewal.reload()
        await running.until(lambda: running.certificates.context)
        await running.until(lambda: running.said("certificate_installed"))
        assert running.file.read_bytes() == content


def test_its_other_files_are_not_swept(tmp_path: Path) -> None:
    theirs = left_behind(tmp_path / "c", b"content")
    CertificateCache(tmp_path / "c")
    assert_untouched(theirs, b"content")


@pytest.fixture(params=["one process", "workers"])
def processes(request: pytest.FixtureRequest) -> Iterator[None]:
    token = START.set(relay_with_workers if request.param == "workers" else START.get())
    yield
    START.reset(token)


@pytest.mark.usefixtures("processes")
async def test_a_relay_serves_with_it_while_its_ca_is_away(tmp_path: Path) -> None:
    content = of_autocert(tmp_path, NAME)
    theirs = left_behind(tmp_path / "c", content, NAME)
    acme = Acme(
        domain=NAME,
        http_listen=Address("127.0.0.1", 0),
        cache=tmp_path / "c",
        directory=NO_CA,
    )
    async with running_relay(tls=acme, intervals={"certificate_check": 0.05}) as relay:
        for _ in range(4):  # the kernel spreads them over the workers
            client = relay.own(await open_http(relay.port, any_name()))
            client.send(request("/healthz", {"Host": NAME}))
            assert (await client.response())[0] == 200
            shown = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            assert ssl.DER_cert_to_PEM_cert(shown).strip() in content.decode()
            with contextlib.suppress(ssl.SSLError):
                await client.close()
    assert_untouched(theirs, content)
