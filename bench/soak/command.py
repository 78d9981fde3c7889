"""``python -m bench soak``: honest and hostile traffic against one relay for minutes.

Exit code 0 only if no honest frame was lost or wrong, memory and descriptors came back, and the
relay's counters add up.
"""

import argparse
import asyncio
import itertools
import json
import platform
import sys
import time
from collections.abc import Sequence

import uvloop

from bench.soak.honest import Household
from bench.soak.hostile import QUICK, SLOW, Enemy, act_in_turn
from bench.soak.report import Watch, complaints, figures, table
from bench.soak.tally import Tally
from bench.support.arguments import Arguments
from bench.support.client import Client
from bench.support.meter import Cost, measure
from bench.support.relay import OURS, Relay, running

_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n"
_QUESTIONS = 90
"""Plain requests one connection may make, with room to spare."""


def main(arguments: Sequence[str]) -> int:
    """Run the soak; returns the exit code."""
    parser = Arguments("soak", __doc__)
    parser.option("--minutes", 20.0, "length of the soak")
    parser.option("--households", 16, "honest daemons, each with its phones")
    parser.option("--phones", 8, "phones of each daemon")
    parser.option("--rate", 4.0, "messages a second of each phone")
    parser.option("--relay", OURS, "its command, with {port} and {metrics}", metavar="COMMAND")
    parser.file("--log", "where the relay's output goes")
    parser.file("--json", "where the figures go as well")
    options = parser.parse_args(arguments)
    with running(options.relay, options.log) as relay:
        tally = Tally()
        watch, scraped = uvloop.run(_soak(relay, tally, options))
    values = figures(tally, watch, scraped)
    print(f"\n{table(values)}\n\nPython {platform.python_version()}, Linux {platform.release()}")
    found = complaints(tally, watch, scraped)
    for complaint in found:
        print(f"NOT AS IT MUST BE: {complaint}")
    if options.json:
        options.json.write_text(json.dumps(values | {"complaints": found}, indent=1) + "\n")
    return 1 if found else 0


async def _soak(
    relay: Relay, tally: Tally, options: argparse.Namespace
) -> tuple[Watch, dict[str, float]]:
    await _warm_up(relay, tally)
    watch = Watch([measure(relay.pid)], [], 0, 0.0)
    started = time.monotonic()
    watching = [
        asyncio.create_task(_watch_costs(relay, watch, tally, started)),
        asyncio.create_task(_watch_answers(relay.port, watch)),
    ]
    homes = [
        Household(relay.port, f"home-{number}", options.phones, options.rate, tally)
        for number in range(options.households)
    ]
    honest = [asyncio.create_task(home.run()) for home in homes]
    enemy = Enemy(relay.port, tally)
    seconds = options.minutes * 60
    hostile = [
        asyncio.create_task(act_in_turn(QUICK[lane::3], enemy, tally, started + seconds))
        for lane in range(3)
    ]
    if seconds > 120:
        hostile += [
            asyncio.create_task(act_in_turn((act,), enemy, tally, started + seconds - 70))
            for act in SLOW
        ]
    await asyncio.gather(*hostile)
    for home in homes:
        home.stop()
    await asyncio.gather(*honest)
    scraped = await _settled(relay)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    watch.costs.append(await _at_rest(relay, watch.costs[0].descriptors))
    watch.seconds = time.monotonic() - started
    return watch, scraped


async def _warm_up(relay: Relay, tally: Tally) -> None:
    """A few connections and frames, so that what is made once is made before the start."""
    await Household(relay.port, "warm-up", 8, 50.0, tally).run_for(1.0)
    relay.scrape()


async def _watch_costs(relay: Relay, watch: Watch, tally: Tally, started: float) -> None:
    for second in itertools.count(1):
        await asyncio.sleep(1)
        watch.costs.append(measure(relay.pid))
        if second % 5 == 0:
            scraped = await asyncio.to_thread(relay.scrape)
            held = _connected(scraped)
            watch.held = max(watch.held, held)
            sys.stderr.write(
                f"\r{time.monotonic() - started:6.0f} s  {held} connected"
                f"  {tally.checked} frames checked  {tally.injected.total()} faults injected"
                f"  {tally.lost + tally.wrong} lost or wrong"
                f"  {watch.costs[-1].resident / 2**20:.1f} MiB "
            )
            sys.stderr.flush()


async def _watch_answers(port: int, watch: Watch) -> None:
    while True:
        client = await Client.dial(port)
        try:
            for _ in range(_QUESTIONS):
                asked = time.perf_counter()
                await client.ask(_HEALTH)
                watch.lags.append(time.perf_counter() - asked)
                await asyncio.sleep(0.1)
        finally:
            await client.drop()


async def _settled(relay: Relay) -> dict[str, float]:
    """The last scrape, once all have gone; grace periods of the last acts run out first."""
    deadline = time.monotonic() + 45
    while True:
        scraped = await asyncio.to_thread(relay.scrape)
        if not _connected(scraped) or time.monotonic() > deadline:
            return scraped
        await asyncio.sleep(0.2)


def _connected(scraped: dict[str, float]) -> int:
    return sum(int(scraped[f"pyrycode_relay_connected_{side}"]) for side in ("binaries", "phones"))


async def _at_rest(relay: Relay, descriptors: int) -> Cost:
    """The last cost, once our own connections have been closed at the other end as well."""
    deadline = time.monotonic() + 5
    while (cost := measure(relay.pid)).descriptors > descriptors and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return cost
