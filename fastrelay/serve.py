"""One process's life: start the relay, wait for a signal, drain, exit."""

import asyncio
import signal
import sys

from fastrelay import __version__
from fastrelay.log import Log
from fastrelay.metrics import make_metrics
from fastrelay.preflight import Refusal
from fastrelay.relay import Relay
from fastrelay.settings import Settings

EXIT_DRAINED = 0


async def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code.

    The first signal drains. A second one, whichever it is, drops everybody at once.

    Raises:
        Refusal: an address cannot be bound.
    """
    log = Log(
        sys.stderr.write,
        settings.log_level,
        as_json=settings.log_format == "json",
        flood_interval=settings.intervals.log_flood,
    )
    relay = Relay(settings, log, make_metrics())
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    try:
        relay.start()
    except OSError as error:
        raise Refusal(f"cannot listen: {error}", "free that address, or name another") from None
    _say_hello(settings, log)
    await signals.get()
    log.info("draining", version=__version__)
    second = asyncio.create_task(signals.get())
    drained = asyncio.create_task(relay.drain())
    await asyncio.wait({second, drained}, return_when=asyncio.FIRST_COMPLETED)
    for task in (second, drained):
        task.cancel()
    await asyncio.gather(second, drained, return_exceptions=True)
    await relay.stop()
    log.info("stopped", version=__version__)
    return EXIT_DRAINED


def _say_hello(settings: Settings, log: Log) -> None:
    log.info(
        "starting",
        version=__version__,
        mode="insecure",
        listen=str(settings.listen),
        metrics=str(settings.metrics_listen or "off"),
        push="on" if settings.push else "off",
    )
    if not settings.limits.upgrade_burst:
        log.warning("rate_limit_off", fix="--upgrade-burst 20 limits attempts per address")
