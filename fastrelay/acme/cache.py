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
from fastrelay.config.flags import LETS_ENCRYPT

_PRIVATE = 0o700
_NEW = ".new-"


class CertificateCache:
    """The files of one directory, which is created if it does not exist.

    Args:
        directory: the directory.
        acme_directory: the URL of the directory of the CA that certificates come from.

    Attributes:
        tightened: whether other users had access to the directory until it was opened here.

    Raises:
        ConfigurationError: the directory cannot be created or written to, or other users have
            access to it and it belongs to another user.
    """

    def __init__(self, directory: Path, acme_directory: str = LETS_ENCRYPT) -> None:
        self._directory = directory
        self._acme_directory = acme_directory
        self.tightened = False
        try:
            for missing in reversed([d for d in (directory, *directory.parents) if not d.exists()]):
                missing.mkdir(_PRIVATE, exist_ok=True)  # whatever the umask allows
            self._check_owner()
            self._check_parents()
            self._check_writable()
            self._sweep()
        except OSError as error:
            raise ConfigurationError(
                f"--cert-cache: cannot use {str(directory)!r}: {error.strerror}",
                "name a directory that this user may create or write to",
            ) from None

    def _check_owner(self) -> None:
        """Refuse a directory of another user; take the access to ours from others."""
        status = self._directory.stat()
        is_wide = bool(stat.S_IMODE(status.st_mode) & ~_PRIVATE)
        if status.st_uid != os.geteuid():
            what = "others can read" if is_wide else "another user owns"
            raise ConfigurationError(
                f"--cert-cache: {what} {str(self._directory)!r}, and it is not ours",
                "chown it to the user the relay runs as, or name another directory",
            )
        if is_wide:
            if self._directory.is_symlink():
                raise ConfigurationError(
                    f"--cert-cache: {str(self._directory)!r} is a symbolic link to a directory that"
                    " others can read",
                    "chmod 0700 the directory it points to, or name a directory of the relay's own",
                )
            self._directory.chmod(_PRIVATE)
            self.tightened = True

    def _check_parents(self) -> None:
        """Refuse a directory that any user could replace by another."""
        for parent in self._directory.resolve().parents:
            mode = parent.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                raise ConfigurationError(
                    f"--cert-cache: every user can rename what is in {str(parent)!r}",
                    f"chmod o-w {parent}, or name a directory elsewhere",
                )

    def _sweep(self) -> None:
        """Remove the new files of processes that were killed while they wrote them."""
        for file in self._directory.glob(f"{_NEW}*"):
            if not _is_being_written(file.name):
                file.unlink(missing_ok=True)

    def _check_writable(self) -> None:
        with tempfile.TemporaryFile(dir=self._directory):
            pass

    def certificate_file(self, domain: str) -> Path:
        """The path of the file with the key and the chain of ``domain``; it may not exist yet."""
        return certificate_file(self._directory, domain, self._acme_directory)

    def autocert_file(self, domain: str) -> Path:
        """The path of the key and chain in the cache of the Go relay, whose library is autocert.

        Its other files (``DOMAIN+rsa``, ``acme_account+key``) are neither read nor touched.
        """
        return self._directory / domain

    def account_file(self, acme_directory: str) -> Path:
        """The path of the file with the account key for one CA, which is used with no other CA.

        Args:
            acme_directory: the URL of the CA's directory.
        """
        return self._directory / f"account-{_name_of(acme_directory)[-128:]}.json"

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
    def set_aside(file: Path) -> Path:
        """Rename a damaged file, for the operator to look at; returns its new path.

        Raises:
            OSError: it cannot be renamed.
        """
        aside = file.with_name(f"{file.name}.damaged")
        file.replace(aside)
        return aside

    @staticmethod
    def stage(file: Path, content: bytes) -> Path:
        """A new file with ``content`` and mode 0600, to be renamed to ``file`` by the caller.

        Raises:
            OSError: it could not be written, and does not exist.
        """
        prefix = f"{_NEW}{os.getpid()}-"
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=prefix)
        try:
            with os.fdopen(descriptor, "wb") as new:
                new.write(content)
                new.flush()
                os.fsync(new.fileno())
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        return Path(temporary)

    @classmethod
    def write(cls, file: Path, content: bytes) -> None:
        """Replace ``file`` by one with ``content``, atomically and with mode 0600.

        Raises:
            OSError: the file could not be written; its old content is unchanged.
        """
        staged = cls.stage(file, content)
        try:
            staged.replace(file)
        except OSError:
            staged.unlink(missing_ok=True)
            raise


def certificate_file(directory: Path, domain: str, acme_directory: str) -> Path:
    """See :meth:`CertificateCache.certificate_file`; the directory is not looked at.

    The name has the CA, unless that is the default. A certificate of a CA for tests, which no
    client trusts, is therefore not used any more when ``--acme-directory`` is left out.
    """
    if acme_directory == LETS_ENCRYPT:
        return directory / f"{domain}.pem"
    return directory / f"{domain}@{_name_of(acme_directory)[-64:]}.pem"


def _name_of(acme_directory: str) -> str:
    """A CA in the name of a file."""
    return re.sub(r"[^a-z0-9.-]+", "_", acme_directory.lower()).strip("_")


def _is_being_written(name: str) -> bool:
    """Whether another process that lives has a file of this name."""
    pid = name.removeprefix(_NEW).partition("-")[0]
    if not pid.isdecimal() or int(pid) == os.getpid():
        return False  # in a container the process before had this number, too
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
