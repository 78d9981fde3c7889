"""Where certificates and the account key are kept between two runs.

One file a domain, key and chain together, so that there is never one without the other; written
beside and renamed over, so that there is never half of it. Files are 0600 in a directory of 0700.
"""

import os
import re
import stat
import tempfile
from pathlib import Path

from fastrelay.config.errors import Refusal

_PRIVATE = 0o700


class CertificateCache:
    """The files of one directory.

    Attributes:
        tightened: the directory was open to others and is not any more.

    Raises:
        Refusal: the directory cannot be made or used, or is open and belongs to somebody else.
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
            raise Refusal(
                f"--cert-cache: cannot use {str(directory)!r}: {error.strerror}",
                "name a directory that this user may create or write to",
            ) from None

    def _tighten(self, owner: int) -> None:
        if owner != os.geteuid():
            raise Refusal(
                f"--cert-cache: others can read {str(self._directory)!r}, and it is not ours",
                "chown it to the user the relay runs as, or name another directory",
            )
        self._directory.chmod(_PRIVATE)
        self.tightened = True

    def _check_writable(self) -> None:
        with tempfile.TemporaryFile(dir=self._directory):
            pass

    def certificate_file(self, domain: str) -> Path:
        """Where key and chain of ``domain`` are, or will be."""
        return self._directory / f"{domain}.pem"

    def account_file(self, acme_directory: str) -> Path:
        """Where the account key for a CA is: keys are not shared between CAs."""
        name = re.sub(r"[^a-z0-9.-]+", "_", acme_directory.lower()).strip("_")
        return self._directory / f"account-{name[-128:]}.json"

    @staticmethod
    def read(file: Path) -> bytes | None:
        """The file's content, ``None`` if there is no such file.

        Raises:
            OSError: it is there and cannot be read.
        """
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return None

    @staticmethod
    def write(file: Path, content: bytes) -> None:
        """Put ``content`` in the place of the file, all at once, readable by us alone.

        Raises:
            OSError: it could not be written; what was there is still there.
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
