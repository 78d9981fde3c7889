"""Decides when to obtain a certificate: at once if there is none, and again before it expires.

A failure is logged, and the attempt is repeated later. Meanwhile the current certificate stays in
use.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509

from fastrelay.acme.cache import CertificateCache
from fastrelay.acme.issuer import IssuanceFailed, Issuer
from fastrelay.log import Log
from fastrelay.loop.coalesced import Coalesced
from fastrelay.loop.daemon_thread import in_daemon_thread
from fastrelay.loop.internal_errors import describe
from fastrelay.net.tls.certificates import iso_time

Result = TypeVar("Result")
_Found = tuple[bytes, Callable[[], None]]

_CLOCK_LOOK: Final = 60.0
"""Seconds between two comparisons of the certificate in use with the clock."""


class _NotYetValid(ValueError):
    """The cached certificate becomes valid later, if the clock is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalTiming:
    """When certificates are renewed. All times are in seconds.

    Attributes:
        fraction_left: the fraction of a certificate's lifetime that is left when it is renewed.
        jitter: the renewal comes earlier by a random part of this fraction of the lifetime, so that
            many relays do not ask the CA at the same time.
        check: the time between two requests for the CA's suggestion.
        retry: the delay after the first failure. It triples with each further failure and is
            varied at random by 20 %. A CA allows about five failures an hour.
        max_retry: the longest delay, before it is varied.
        stop: how long :meth:`Renewal.stop` waits for a request to the CA.
        look: the time between two checks of the cached certificate while none is in use. The
            clock may be wrong when a machine starts, and correct soon after.
        max_retry_after: the most that a ``Retry-After`` of the CA delays an attempt.
        reload: from one installation on request to the next at the earliest.
    """

    fraction_left: float = 1 / 3
    jitter: float = 1 / 30
    check: float = 6 * 3600.0
    retry: float = 60.0
    max_retry: float = 3 * 3600.0
    stop: float = 2.0
    look: float = 1.0
    max_retry_after: float = 86400.0
    reload: float = 1.0

    def back_off(self, failures: int, random_fraction: float) -> float:
        """The seconds to wait after ``failures`` failures in a row.

        Args:
            failures: at least 1.
            random_fraction: from 0 to 1.
        """
        # The exponent is bounded, so that a year of failures does not compute a huge power.
        wait: float = min(self.retry * 3 ** min(failures - 1, 20), self.max_retry)
        return wait * (0.8 + 0.4 * random_fraction)

    def due(self, begin: float, end: float, random_fraction: float) -> float:
        """When to renew a certificate that is valid from ``begin`` to ``end``.

        Args:
            begin, end: seconds since the epoch, like the result.
            random_fraction: from 0 to 1.
        """
        return end - (end - begin) * (self.fraction_left + self.jitter * random_fraction)


class Renewal:
    """Keeps a valid certificate for one domain installed while it runs.

    Args:
        domain: the domain.
        issuer: orders the certificates.
        cache: where they are stored.
        prepare: reads and verifies the PEM file of a key and its chain, in any thread; returns
            what puts them into use in the loop's thread. Raises ``ValueError`` or ``OSError`` if
            the file cannot be used.
        log: where installations and failures are logged.
        timing: when to renew, and when to repeat a failed attempt.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        domain: str,
        issuer: Issuer,
        cache: CertificateCache,
        prepare: Callable[[Path], Callable[[], None]],
        log: Log,
        timing: RenewalTiming,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._cache = cache
        self._file = self._looked_at = cache.certificate_file(domain)
        self._autocert_file = cache.autocert_file(domain)
        self._prepare = prepare
        # Two installations at once could end in the order in which they did not begin.
        self._installing = asyncio.Lock()
        self._reloads = Coalesced(self._install_again, timing.reload)
        self._log = log
        self._timing = timing
        self._clock = clock
        self._failures = 0
        self._domain = domain
        self._in_use: bytes | None = None
        self._complained = ""
        # When to renew, in seconds since the epoch; None while there is no certificate. Attempts
        # and questions are timed by the monotonic clock, because the other one may be set.
        self._due: float | None = None
        self._next_try = 0.0
        self._next_question = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Install the cached certificate if it is valid now, and start the renewal task."""
        try:
            self._take_found(self._examine_cache())
        except Exception as error:
            self._unusable(error)
        self._task = asyncio.create_task(self._run())

    def reload(self) -> None:
        """Install the cached file again, because the operator may have replaced it."""
        self._reloads.request()

    async def _install_again(self) -> None:
        try:
            async with self._installing:
                pem, use = await in_daemon_thread(self._load)
                use()
            self._in_use, self._due = pem, self._installed(pem)
        except Exception as error:
            self._complained = ""
            self._unusable(error)

    async def stop(self) -> None:
        """Stop the renewal task. A request to the CA has ``timing.stop`` seconds to end."""
        await self._reloads.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self) -> None:
        while True:
            if self._due is None:
                await self._look_at_cache()
            now, valid_for = time.monotonic(), 0.0
            if self._due is not None:
                valid_for = self._due - self._clock()
            if valid_for > 0:
                if now >= self._next_question:
                    self._next_question = now + self._timing.check
                    await self._ask_for_suggestion()
                    continue
                await asyncio.sleep(min(valid_for, self._next_question - now, _CLOCK_LOOK))
            elif now >= self._next_try:
                await self._renew()
            else:
                await asyncio.sleep(min(self._next_try - now, self._timing.look))

    async def _look_at_cache(self) -> None:
        """Install the cached certificate if it is another one than before and valid now."""
        try:
            async with self._installing:
                self._take_found(await in_daemon_thread(self._examine_cache))
        except Exception as error:
            self._unusable(error)

    def _examine_cache(self) -> _Found | None:
        """The cached certificate, if it is not in use already; runs in any thread."""
        pem = self._cache.read(self._look_for_file())
        if pem is None or pem == self._in_use:
            return None
        begin, end = _validity(pem)
        if begin > self._clock():
            raise _NotYetValid("the certificate is not valid yet: is the clock right?")
        if end <= self._clock():
            raise ValueError("the certificate has expired")
        return self._load()

    def _look_for_file(self) -> Path:
        """Our file; if there is none, the one that a Go relay has left in the directory."""
        has_own = self._file.exists() or not self._autocert_file.exists()
        self._looked_at = self._file if has_own else self._autocert_file
        return self._looked_at

    def _load(self) -> _Found:
        """Read and verify what is cached. What a Go relay has left is copied to our file."""
        file = self._look_for_file()
        use = self._prepare(file)
        pem = self._cache.read(file) or b""
        if file != self._file:
            self._cache.write(self._file, pem)
        return pem, use

    def _take_found(self, found: _Found | None) -> None:
        if found is not None:
            pem, use = found
            use()
            self._in_use, self._due = pem, self._installed(pem)

    def _unusable(self, error: Exception) -> None:
        """Log, once, why the cached certificate is not used."""
        if isinstance(error, _NotYetValid) and not self._next_try:
            # The clock is probably wrong, and then no CA can be verified either.
            self._next_try = time.monotonic() + self._timing.retry
        text = _text_of(error)
        if text != self._complained:
            self._complained = text
            self._log.warning("certificate_unusable", path=str(self._looked_at), err=text)

    async def _renew(self) -> None:
        """Try to renew once, and decide when to try again if that fails."""
        before = self._in_use
        await self._look_at_cache()  # the clock, or the file, may have changed
        if self._in_use != before and self._due is not None and self._due > self._clock():
            return
        try:
            await self._take_new(await self._in_thread(self._issuer.obtain))
        except Exception as error:
            # Whatever it was, the task that renews certificates must not end.
            self._failures += 1
            wait = self._timing.back_off(self._failures, random.random())  # noqa: S311
            if isinstance(error, IssuanceFailed):
                wait = max(wait, min(error.retry_after, self._timing.max_retry_after))
            self._next_try = time.monotonic() + wait
            self._log.warning("certificate_failed", err=_text_of(error), retry_in=f"{wait:.0f}s")
        else:
            self._failures = 0

    async def _take_new(self, pem: bytes) -> None:
        """Verify a new certificate, and only then store it in place of the old one and use it."""
        async with self._installing:
            staged = self._cache.stage(self._file, pem)
            try:
                use = await in_daemon_thread(lambda: self._prepare_new(staged, pem))
                staged.replace(self._file)
            finally:
                staged.unlink(missing_ok=True)
            use()
        self._in_use = pem
        self._due = self._installed(pem)

    def _prepare_new(self, staged: Path, pem: bytes) -> Callable[[], None]:
        names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        if self._domain not in names.value.get_values_for_type(x509.DNSName):
            raise ValueError("the CA's certificate is for another name")
        try:
            return self._prepare(staged)
        except ValueError as error:
            why = str(error).replace(str(staged), "it")
            raise ValueError(f"the CA's certificate cannot be used: {why}") from None

    def _installed(self, pem: bytes) -> float:
        """Log that ``pem`` is in use; returns when its renewal is due."""
        begin, end = _validity(pem)
        self._complained = ""
        self._log.info("certificate_installed", path=str(self._file), not_after=iso_time(end))
        return self._timing.due(begin, end, random.random())  # noqa: S311

    async def _ask_for_suggestion(self) -> None:
        """Renew earlier if the CA suggests it."""
        pem = self._in_use or b""
        try:
            when = await self._in_thread(lambda: self._issuer.suggested_renewal(pem))
        except Exception as error:
            self._log.warning("certificate_no_suggestion", err=_text_of(error))
            return
        if when is not None and self._due is not None:
            self._due = min(self._due, when.timestamp())

    async def _in_thread(self, call: Callable[[], Result]) -> Result:
        """Run a call of the issuer in a thread of its own."""
        future = in_daemon_thread(call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._issuer.cancel()
            finished, _ = await asyncio.wait({future}, timeout=self._timing.stop)
            for finished_future in finished:
                finished_future.exception()
            raise


def _validity(pem: bytes) -> tuple[float, float]:
    """The start and the end of the first certificate's validity, in seconds since the epoch."""
    certificate = x509.load_pem_x509_certificate(pem)
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()


def _text_of(error: Exception) -> str:
    """The text of an error for the log; for an unexpected one only its type and place."""
    if isinstance(error, IssuanceFailed | OSError | ValueError):
        return str(error)
    return describe(error)
