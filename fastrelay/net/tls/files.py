"""A certificate that somebody else renews: read at start, when asked to, and when it changes."""

from fastrelay.config.settings import TlsFiles
from fastrelay.log import Log
from fastrelay.loop.timer_wheel import PeriodicTask, TimerWheel
from fastrelay.net.tls.certificates import Certificates, UnusableCertificate


class CertificateFiles:
    """Keeps ``certificates`` what is in the files.

    Args:
        interval: seconds between two looks at the files.
    """

    def __init__(
        self,
        files: TlsFiles,
        certificates: Certificates,
        wheel: TimerWheel,
        interval: float,
        log: Log,
    ) -> None:
        self._files = files
        self._certificates = certificates
        self._wheel = wheel
        self._interval = interval
        self._log = log
        self._known_versions: list[tuple[int, int, int]] = []
        self._periodic_check: PeriodicTask | None = None

    def start(self) -> None:
        """Take the files into use.

        Raises:
            UnusableCertificate: they are not to be used.
        """
        self._known_versions = self._read_versions()
        self._certificates.install(self._files.certificate, self._files.key)
        self._periodic_check = PeriodicTask(self._wheel, self._interval, self._check)

    def reload(self) -> None:
        """Read the files again; what is wrong with them is logged, and the old stay in use."""
        self._known_versions = self._read_versions()
        try:
            self._certificates.install(self._files.certificate, self._files.key)
        except UnusableCertificate as error:
            self._log.error("certificate_refused", err=str(error))
        else:
            self._log.info("certificate_installed", path=str(self._files.certificate))

    async def stop(self) -> None:
        """Look no more."""
        if self._periodic_check is not None:
            self._periodic_check.cancel()

    def _check(self) -> None:
        if self._read_versions() != self._known_versions:
            self.reload()

    def _read_versions(self) -> list[tuple[int, int, int]]:
        """What tells one version of the files from another; a missing one is a version too."""
        versions = []
        for file in (self._files.certificate, self._files.key):
            try:
                status = file.stat()
                versions.append((status.st_mtime_ns, status.st_ino, status.st_size))
            except OSError:
                versions.append((0, 0, 0))
        return versions
