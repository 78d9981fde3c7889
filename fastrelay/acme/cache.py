"""Stores certificates and ACME account keys on disk.

Each domain has one file that holds its private key and its chain, so that they always match. Files
are replaced by renaming, so that a file is never incomplete. Files have mode 0600, the directory
has mode 0700.
"""

import os
import re
import stat
import tempfile
from pathlib import Path

from fastrelay.config.errors import ConfigurationError

_PRIVATE = 0o700


class CertificateCache:
    """The files of one directory, which is created if it does not exist.

    Attributes:
        tightened: whether other users had access to the directory until it was opened here.

    Raises:
        ConfigurationError: the directory cannot be created or written to, or other users have
            access to it and it belongs to another user.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.tightened = False
        try:
            directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            status = directory.stat()
            if stat.S_IMODE(status.st_mode) & ~_PRIVATE:
                self._tighten(status.st_uid)
            self._check_writable()
        except OSError as error:
            raise ConfigurationError(
                f"--cert-cache: cannot use {str(directory)!r}: {error.strerror}",
                "name a directory that this user may create or write to",
            ) from None

    def _tighten(self, owner: int) -> None:
        if owner != os.geteuid():
            raise ConfigurationError(
                f"--cert-cache: others can read {str(self._directory)!r}, and it is not ours",
                "chown it to the user the relay runs as, or name another directory",
            )
        self._directory.chmod(_PRIVATE)
        self.tightened = True

    def _check_writable(self) -> None:
        with tempfile.TemporaryFile(dir=self._directory):
            pass

    def certificate_file(self, domain: str) -> Path:
        """The path of the file with the key and the chain of ``domain``; it may not exist yet."""
        return self._directory / f"{domain}.pem"

    def account_file(self, acme_directory: str) -> Path:
        """The path of the file with the account key for one CA, which is used with no other CA.

        Args:
            acme_directory: the URL of the CA's directory.
        """
        name = re.sub(r"[^a-z0-9.-]+", "_", acme_directory.lower()).strip("_")
        return self._directory / f"account-{name[-128:]}.json"

    @staticmethod
    def read(file: Path) -> bytes | None:
        """The content of ``file``; ``None`` if it does not exist.

        Raises:
            OSError: the file exists and cannot be read.
        """
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return None

    @staticmethod
    def write(file: Path, content: bytes) -> None:
        """Replace ``file`` by one with ``content``, atomically and with mode 0600.

        Raises:
            OSError: the file could not be written; its old content is unchanged.
        """
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as new:
                new.write(content)
                new.flush()
                os.fsync(new.fileno())
            Path(temporary).replace(file)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
