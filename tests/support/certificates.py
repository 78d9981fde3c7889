"""Certificates for one test session's own little internet."""

import ssl
import tempfile
from datetime import datetime
from functools import cache
from pathlib import Path

import trustme

from fastrelay.config.settings import TlsFiles


class Authority:
    """A CA, and what trusts it.

    Attributes:
        client: a context that trusts what :meth:`issue` makes, and nothing else.
    """

    def __init__(self) -> None:
        self._ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.client = self.context()

    def context(self) -> ssl.SSLContext:
        """One more like :attr:`client`."""
        made = ssl.create_default_context()
        self._ca.configure_trust(made)
        return made

    def issue(
        self,
        directory: Path,
        *names: str,
        name: str = "relay",
        until: datetime | None = None,
    ) -> TlsFiles:
        """PEM files of a chain and its key for ``names`` (default: 127.0.0.1)."""
        made = self._ca.issue_cert(
            *(names or ("127.0.0.1",)), key_type=trustme.KeyType.ECDSA, not_after=until
        )
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
        return TlsFiles(certificate=certificate, key=key)

    def write(self, file: Path) -> Path:
        """The CA's own certificate, for clients that want a file."""
        file.write_bytes(self._ca.cert_pem.bytes())
        return file


@cache
def authority() -> Authority:
    """One for all tests of this process: making keys takes a while."""
    return Authority()


@cache
def local_certificate() -> TlsFiles:
    """A certificate for 127.0.0.1, in a directory that goes with this process."""
    directory = tempfile.TemporaryDirectory(prefix="relay-certificate-")
    _kept.append(directory)
    return authority().issue(Path(directory.name))


_kept: list["tempfile.TemporaryDirectory[str]"] = []
