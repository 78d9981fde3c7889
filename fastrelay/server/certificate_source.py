"""Chooses the source of certificates: files, or a CA."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from fastrelay.acme.cache import CertificateCache
from fastrelay.acme.responder import ChallengeResponder
from fastrelay.config.settings import Acme, Intervals, Renewed, TlsFiles
from fastrelay.log import Log
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.tls.certificates import Certificates
from fastrelay.net.tls.files import CertificateFiles


class CertificateSource(Protocol):
    """Installs certificates while it runs."""

    def start(self) -> None:
        """Install the first certificate if there is one, and watch for others.

        Raises:
            UnusableCertificate: the certificate cannot be used, and no other is to be expected.
        """

    def reload(self) -> None:
        """Check soon for a new certificate, at most once in each reload interval."""

    async def stop(self) -> None:
        """Stop watching."""


def make_source(
    tls: TlsFiles | Acme | Renewed,
    certificates: Certificates,
    responder: ChallengeResponder,
    wheel: TimerWheel,
    intervals: Intervals,
    log: Log,
) -> CertificateSource:
    """The source that the settings ask for.

    Raises:
        ConfigurationError: the certificate cache cannot be used.
    """
    check, spacing = intervals.certificate_check, intervals.certificate_reload
    if isinstance(tls, Renewed):
        files = TlsFiles(certificate=tls.file, key=tls.file)
        return CertificateFiles(
            files, certificates, wheel, check, spacing, log, may_be_missing=True
        )
    if isinstance(tls, TlsFiles):
        return CertificateFiles(tls, certificates, wheel, check, spacing, log)
    # Imported here, because a relay that needs no CA may run without the extra acme.
    from fastrelay.acme.issuer import Issuer
    from fastrelay.acme.renewal import Renewal, RenewalTiming

    cache = CertificateCache(tls.cache, tls.directory)
    if cache.tightened:
        log.warning("cert_cache_tightened", path=str(tls.cache))

    def warn_of_account(path: Path) -> None:
        log.warning("certificate_account_replaced", path=str(path))

    issuer = Issuer(tls, cache, responder, intervals.certificate_issue, on_damaged=warn_of_account)

    def prepare(file: Path) -> Callable[[], None]:
        return certificates.prepare(file, file)

    timing = RenewalTiming(reload=intervals.certificate_reload)
    return Renewal(tls.domain, issuer, cache, prepare, log, timing)
