"""Runs a relay in a process: bind, start, wait for a signal, drain, exit."""

import asyncio
import contextlib
import os
import signal

import uvloop

from fastrelay import __version__
from fastrelay.config.errors import ConfigurationError
from fastrelay.config.settings import Acme, Settings
from fastrelay.config.spelling import ignored
from fastrelay.log import Log
from fastrelay.loop.timer_wheel import PeriodicTask
from fastrelay.metrics import make_metrics
from fastrelay.net.bound_sockets import BindFailed, BoundSockets, bind_all
from fastrelay.net.sockets import tells_tcp_bytes
from fastrelay.net.tls.certificates import UnusableCertificate
from fastrelay.process.bind_refusals import refusal_of
from fastrelay.process.early import hold_back_signals
from fastrelay.process.ending import drain
from fastrelay.process.garbage_collection import configure_gc
from fastrelay.process.own_log import own_log
from fastrelay.process.systemd import Notifier
from fastrelay.server.address_cap import address_cap
from fastrelay.server.relay import Relay

EXIT_DRAINED = 0
EXIT_LISTENER_FAILED = 1


def bind_and_run(settings: Settings) -> int:
    """Bind every address that the settings name, and serve; returns the exit code.

    Raises:
        ConfigurationError: an address cannot be bound, or see :func:`serve`.
    """
    try:
        sockets = bind_all(settings)
    except BindFailed as failure:
        raise refusal_of(failure, settings) from None
    return run(settings, sockets)


def certificate_error(error: UnusableCertificate) -> ConfigurationError:
    """The error for a certificate that cannot be used."""
    fix = "give --tls-cert a PEM chain that has not expired, and --tls-key its unencrypted key"
    return ConfigurationError(f"cannot serve TLS: {error}", fix)


def run(settings: Settings, sockets: BoundSockets) -> int:
    """Serve on bound sockets, in an event loop of its own; see :func:`serve`."""
    with contextlib.closing(sockets), own_log(settings) as log:
        return uvloop.run(_serve_and_end(settings, sockets, log))


async def _serve_and_end(settings: Settings, sockets: BoundSockets, log: Log) -> int:
    try:
        return await serve(settings, sockets, log)
    finally:
        hold_back_signals()


async def serve(settings: Settings, sockets: BoundSockets, log: Log) -> int:
    """Serve until SIGTERM, SIGINT or the failure of a listener; returns the exit code.

    The first signal starts the drain. A second one, of either kind, ends the drain and drops all
    connections. SIGHUP reads certificates again.

    Raises:
        ConfigurationError: a certificate, or the cache of certificates, cannot be used.
    """
    exit_requests: asyncio.Queue[int] = asyncio.Queue()
    relay = Relay(
        settings,
        log,
        make_metrics(),
        on_failure=lambda: exit_requests.put_nowait(EXIT_LISTENER_FAILED),
    )
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(relay.errors.from_loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, exit_requests.put_nowait, EXIT_DRAINED)
    loop.add_signal_handler(signal.SIGHUP, relay.listeners.reload)
    _start(relay, sockets)
    notifier = Notifier(os.environ)
    if notifier.watchdog:
        relay.periodic_tasks.append(
            PeriodicTask(relay.wheel, notifier.watchdog / 2, notifier.alive)
        )
    log_startup(settings, log)
    configure_gc()
    notifier.ready()
    exit_code = await exit_requests.get()
    notifier.stopping()
    log_draining(log, exit_code)
    await drain(relay.drain, exit_requests)
    await relay.stop()
    await notifier.close()
    log_stopped(log)
    return exit_code


def _start(relay: Relay, sockets: BoundSockets) -> None:
    try:
        relay.start(sockets)
    except UnusableCertificate as error:
        raise certificate_error(error) from None


def log_draining(log: Log, exit_code: int) -> None:
    """Log that the drain begins, because of a signal or the failure of a listener."""
    if exit_code == EXIT_DRAINED:
        log.info("shutdown signal received; draining", version=__version__)
    else:
        log.info("draining", version=__version__)


def log_stopped(log: Log) -> None:
    """Log that the drain is over."""
    log.info("shutdown complete", version=__version__)


def log_startup(settings: Settings, log: Log) -> None:
    """Log that the relay serves, and every limit in effect."""
    mode = "insecure" if settings.tls is None else "tls"
    if isinstance(settings.tls, Acme):
        mode = "acme"
    log.info(
        "starting",
        version=__version__,
        mode=mode,
        listen=str(settings.listen),
        metrics=str(settings.metrics_listen or "off"),
        push="on" if settings.push else "off",
        address_cap=address_cap(settings),
        workers=settings.workers,
        max_connections=settings.limits.connections,
        max_message_bytes=settings.limits.message_bytes,
        max_phones=settings.limits.phones,
        max_held_bytes=settings.limits.held_bytes,
        phone_send_buffer=settings.limits.phone_send_buffer,
        binary_send_buffer=settings.limits.binary_send_buffer,
        grace=settings.intervals.grace,
        upgrade_burst=settings.limits.upgrade_burst,
        upgrade_refill=settings.limits.upgrade_refill,
    )
    if settings.metrics_listen is not None:
        log.info("starting metrics listener", listen=str(settings.metrics_listen))
    if not tells_tcp_bytes():
        log.warning(
            "acknowledgements_unknown",
            err="this system does not tell what peers have acknowledged:"
            " whether one has stalled is judged by the relay's own buffers",
        )
    if settings.unknown_variables:
        log.warning("unknown_variables", err=ignored(settings.unknown_variables))
    if not settings.limits.upgrade_burst:
        log.warning("rate_limit_off", fix="--upgrade-burst 20 limits attempts per address")
