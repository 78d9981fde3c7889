"""Two relays for the dashboard to show: one that is under attack, one with TLS that is not."""

import asyncio
import contextlib
import ssl
import time
from pathlib import Path

from bench.soak.honest import Household
from bench.soak.hostile import QUICK, SLOW, Enemy, act_in_turn
from bench.soak.tally import Tally

LANES = 2
"""Hostile acts at a time."""

_STAY = 4.0
"""Seconds a household with TLS is connected, so that there are handshakes all the time."""


async def under_attack(port: int, seconds: float) -> None:
    """Honest households, and for the middle three fifths of the time hostile peers beside them."""
    tally = Tally()
    homes = [Household(port, f"home-{number}", 4, 8.0, tally) for number in range(8)]
    honest = [asyncio.create_task(home.run_for(seconds)) for home in homes]
    await asyncio.sleep(seconds / 5)
    enemy = Enemy(port, tally)
    acts = [QUICK[lane::LANES] for lane in range(LANES)] + [SLOW[1:]]
    hostile = [asyncio.create_task(act_in_turn(some, enemy, tally)) for some in acts]
    await asyncio.sleep(seconds * 3 / 5)
    for task in hostile:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await asyncio.gather(*honest)


async def at_peace(port: int, certificate: Path, seconds: float) -> None:
    """Over TLS: a household after the other, with phones that talk for a while and leave."""
    trust, tally = ssl.create_default_context(cafile=str(certificate)), Tally()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        await Household(port, "calm", 6, 50.0, tally, trust).run_for(min(left, _STAY))
