"""A certificate in files that another program renews.

The files are read at start, on request, and when they have changed.
"""

from collections.abc import Callable

from fastrelay.config.settings import TlsFiles
from fastrelay.log import Log
from fastrelay.loop.coalesced import Coalesced
from fastrelay.loop.daemon_thread import in_daemon_thread
from fastrelay.loop.timer_wheel import PeriodicTask, TimerWheel
from fastrelay.net.tls.certificates import Certificates, UnusableCertificate, iso_time


class CertificateFiles:
    """Installs the certificate and key of two files, and installs them again when they change.

    Args:
        files: the paths of certificate and key.
        certificates: where they are installed.
        wheel: the timer for the periodic check.
        interval: seconds between two checks whether the files have changed.
        spacing: seconds from one reload to the next at the earliest.
        log: where it logs what a reload installed or refused.
        may_be_missing: whether they may come later; until then there is no certificate.
    """

    def __init__(
        self,
        files: TlsFiles,
        certificates: Certificates,
        wheel: TimerWheel,
        interval: float,
        spacing: float,
        log: Log,
        *,
        may_be_missing: bool = False,
    ) -> None:
        self._files = files
        self._certificates = certificates
        self._wheel = wheel
        self._interval = interval
        self._log = log
        self._may_be_missing = may_be_missing
        self._reloads = Coalesced(self._reload, spacing)
        # Of the last files that were installed: those that failed are tried again at each check,
        # because what was at fault may not show in the times of the files.
        self._known_versions: list[tuple[int, int, int]] = []
        self._complained = ""
        self._periodic_check: PeriodicTask | None = None

    def start(self) -> None:
        """Install the files and start the periodic check.

        Raises:
            UnusableCertificate: the files cannot be used.
        """
        self._known_versions = self._read_versions()
        try:
            if not self._may_be_missing or self._files.certificate.exists():
                self._certificates.install(self._files.certificate, self._files.key)
        except UnusableCertificate as error:
            if not self._may_be_missing:
                raise
            self._refused(error)
        self._periodic_check = PeriodicTask(self._wheel, self._interval, self._check)

    def reload(self) -> None:
        """Install the files again; if they cannot be used, log that and keep the old ones."""
        self._complained = ""
        self._reloads.request()

    async def _reload(self) -> None:
        versions = self._read_versions()
        try:
            # In a thread, because the handshake takes milliseconds, and the files may lie on a
            # network file system that does not answer.
            use = await in_daemon_thread(self._prepare)
        except (UnusableCertificate, OSError) as error:
            self._refused(error)
        else:
            use()
            self._known_versions, self._complained = versions, ""
            self._log.info(
                "certificate_installed",
                path=str(self._files.certificate),
                not_after=iso_time(self._certificates.expires),
            )

    def _refused(self, error: Exception) -> None:
        """Have the files tried again at the next check; log the same reason once."""
        self._known_versions = []
        if str(error) != self._complained:
            self._complained = str(error)
            self._log.error("certificate_refused", err=str(error))

    def _prepare(self) -> Callable[[], None]:
        return self._certificates.prepare(self._files.certificate, self._files.key)

    async def stop(self) -> None:
        """Stop the periodic check and a reload that is under way."""
        await self._reloads.stop()
        if self._periodic_check is not None:
            self._periodic_check.cancel()

    def _check(self) -> None:
        if self._read_versions() != self._known_versions:
            self._reloads.request()

    def _read_versions(self) -> list[tuple[int, int, int]]:
        """Modification time in ns, inode and size of both files; zeros for a missing file."""
        versions = []
        for file in (self._files.certificate, self._files.key):
            try:
                status = file.stat()
                versions.append((status.st_mtime_ns, status.st_ino, status.st_size))
            except OSError:
                versions.append((0, 0, 0))
        return versions
