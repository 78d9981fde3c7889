"""When to get a certificate: at once if there is none, and again in good time before it expires.

Whatever fails is logged and tried again later; the certificate in use goes on being used.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from fastrelay.acme.cache import CertificateCache
from fastrelay.acme.issuer import IssuanceFailed, Issuer
from fastrelay.log import Log

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalTiming:
    """How often, in seconds, and how early.

    Attributes:
        fraction_left: of a certificate's lifetime, when it is renewed.
        jitter: up to this fraction of the lifetime earlier, so that many relays do not ask at once.
        check: between two looks at the clock, and two questions when the CA wants a renewal.
        retry, max_retry: after the first failure; after many. Each triples, with jitter. A CA
            allows about five failures an hour.
        stop: given to a request under way when the relay stops.
    """

    fraction_left: float = 1 / 3
    jitter: float = 1 / 30
    check: float = 6 * 3600.0
    retry: float = 60.0
    max_retry: float = 3 * 3600.0
    stop: float = 2.0

    def back_off(self, failures: int, random_fraction: float) -> float:
        """Seconds to wait after this many failures in a row; ``random_fraction``: from 0 to 1."""
        # Bounded before it is raised to: a year of failures must not make a number of a million.
        wait: float = min(self.retry * 3 ** min(failures - 1, 20), self.max_retry)
        return wait * (0.8 + 0.4 * random_fraction)

    def due(self, begin: float, end: float, random_fraction: float) -> float:
        """When a certificate that is good from ``begin`` to ``end`` is to be renewed."""
        return end - (end - begin) * (self.fraction_left + self.jitter * random_fraction)


class Renewal:
    """Keeps one domain certified while it runs.

    Args:
        install: takes the PEM file of key and chain into use; raises ``ValueError`` or
            ``OSError`` when it cannot.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        domain: str,
        issuer: Issuer,
        cache: CertificateCache,
        install: Callable[[Path], None],
        log: Log,
        timing: RenewalTiming,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._cache = cache
        self._file = cache.certificate_file(domain)
        self._install = install
        self._log = log
        self._timing = timing
        self._clock = clock
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take the cached certificate into use, if it is still good, and begin."""
        due = 0.0
        try:
            pem = self._cache.read(self._file)
            if pem is not None and _validity(pem)[1] > self._clock():
                due = self._installed(pem)
        except (OSError, ValueError) as error:
            self._log.warning("certificate_unusable", path=str(self._file), err=str(error))
        self._task = asyncio.create_task(self._run(due))

    def reload(self) -> None:
        """Take what is in the cache into use once more: somebody may have put it there."""
        try:
            self._install(self._file)
        except (OSError, ValueError) as error:
            self._log.warning("certificate_unusable", path=str(self._file), err=str(error))
        else:
            self._log.info("certificate_installed", path=str(self._file))

    async def stop(self) -> None:
        """End; waits a little for a request that is under way."""
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
        """Try once; returns when the next try is due."""
        try:
            pem = await self._in_thread(self._issuer.obtain)
            self._cache.write(self._file, pem)
            due = self._installed(pem)
        except (IssuanceFailed, OSError, ValueError) as error:
            self._log.warning("certificate_failed", err=str(error))
            self._failures += 1
            return self._clock() + self._timing.back_off(self._failures, random.random())  # noqa: S311
        self._failures = 0
        return due

    def _installed(self, pem: bytes) -> float:
        """Take what is in the file into use; returns when it is to be renewed."""
        begin, end = _validity(pem)
        self._install(self._file)
        self._log.info("certificate_installed", path=str(self._file), to=_iso_time(end))
        return self._timing.due(begin, end, random.random())  # noqa: S311

    async def _suggested_due(self, due: float) -> float:
        """When the CA wants the renewal; ``due`` if it does not say."""
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
        """Run a blocking call; a thread that hangs must not keep the process from ending."""
        result: Future[Result] = Future()

        def run() -> None:
            try:
                result.set_result(call())
            except BaseException as error:
                result.set_exception(error)

        threading.Thread(target=run, name="acme", daemon=True).start()
        future = asyncio.wrap_future(result)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._issuer.cancel()
            finished, _ = await asyncio.wait({future}, timeout=self._timing.stop)
            for finished_future in finished:
                finished_future.exception()
            raise


def _validity(pem: bytes) -> tuple[float, float]:
    """From when until when the first certificate is good, in seconds since the epoch."""
    certificate = x509.load_pem_x509_certificate(pem)
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()


def _iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
