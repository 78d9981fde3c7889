"""Decides when to obtain a certificate: at once if there is none, and again before it expires.

A failure is logged, and the attempt is repeated later. Meanwhile the current certificate stays in
use.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from fastrelay.acme.cache import CertificateCache
from fastrelay.acme.issuer import IssuanceFailed, Issuer
from fastrelay.log import Log
from fastrelay.loop.coalesced import Coalesced
from fastrelay.loop.daemon_thread import in_daemon_thread

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalTiming:
    """When certificates are renewed. All times are in seconds.

    Attributes:
        fraction_left: the fraction of a certificate's lifetime that is left when it is renewed.
        jitter: the renewal comes earlier by a random part of this fraction of the lifetime, so that
            many relays do not ask the CA at the same time.
        check: the time between two comparisons with the clock, and between two requests for the
            CA's suggestion.
        retry: the delay after the first failure. It triples with each further failure and is
            varied at random by 20 %. A CA allows about five failures an hour.
        max_retry: the longest delay, before it is varied.
        stop: how long :meth:`Renewal.stop` waits for a request to the CA.
        reload: from one installation on request to the next at the earliest.
    """

    fraction_left: float = 1 / 3
    jitter: float = 1 / 30
    check: float = 6 * 3600.0
    retry: float = 60.0
    max_retry: float = 3 * 3600.0
    stop: float = 2.0
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
        self._file = cache.certificate_file(domain)
        self._prepare = prepare
        # Two installations at once could end in the order in which they did not begin.
        self._installing = asyncio.Lock()
        self._reloads = Coalesced(self._install_again, timing.reload)
        self._log = log
        self._timing = timing
        self._clock = clock
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Install the cached certificate if it is still valid, and start the renewal task."""
        due = 0.0
        try:
            pem = self._cache.read(self._file)
            if pem is not None and _validity(pem)[1] > self._clock():
                self._prepare(self._file)()
                due = self._installed(pem)
        except (OSError, ValueError) as error:
            self._log.warning("certificate_unusable", path=str(self._file), err=str(error))
        self._task = asyncio.create_task(self._run(due))

    def reload(self) -> None:
        """Install the cached file again, because the operator may have replaced it."""
        self._reloads.request()

    async def _install_again(self) -> None:
        try:
            await self._install()
        except (OSError, ValueError) as error:
            self._log.warning("certificate_unusable", path=str(self._file), err=str(error))
        else:
            self._log.info("certificate_installed", path=str(self._file))

    async def _install(self) -> None:
        async with self._installing:
            use = await in_daemon_thread(lambda: self._prepare(self._file))
            use()

    async def stop(self) -> None:
        """Stop the renewal task. A request to the CA has ``timing.stop`` seconds to end."""
        await self._reloads.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self, due: float) -> None:
        while True:
            wait = due - self._clock()
            if wait <= 0:
                due = await self._renew()
                continue
            await asyncio.sleep(min(wait, self._timing.check))
            due = min(due, await self._suggested_due(due))

    async def _renew(self) -> float:
        """Try to renew once; returns when the next attempt is due, in seconds since the epoch."""
        try:
            pem = await self._in_thread(self._issuer.obtain)
            self._cache.write(self._file, pem)
            await self._install()
            due = self._installed(pem)
        except (IssuanceFailed, OSError, ValueError) as error:
            self._log.warning("certificate_failed", err=str(error))
            self._failures += 1
            return self._clock() + self._timing.back_off(self._failures, random.random())  # noqa: S311
        self._failures = 0
        return due

    def _installed(self, pem: bytes) -> float:
        """Log that ``pem`` is in use; returns when its renewal is due."""
        begin, end = _validity(pem)
        self._log.info("certificate_installed", path=str(self._file), to=_iso_time(end))
        return self._timing.due(begin, end, random.random())  # noqa: S311

    async def _suggested_due(self, due: float) -> float:
        """When the CA suggests to renew, in seconds since the epoch; ``due`` if it does not."""
        pem = self._cache.read(self._file)
        if pem is None:
            return due
        try:
            when = await self._in_thread(lambda: self._issuer.suggested_renewal(pem))
        except IssuanceFailed as error:
            self._log.warning("certificate_no_suggestion", err=str(error))
            return due
        return due if when is None else when.timestamp()

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


def _iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
