"""Two relays for the dashboard to show: one that is under attack, one with TLS that is not."""

import asyncio
import contextlib
import itertools
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

from websockets.asyncio.client import connect

from bench.soak.honest import Household
from bench.soak.hostile import QUICK, SLOW, Act, Enemy, attack
from bench.soak.tally import Tally

LANES = 2
"""Hostile acts at a time."""


def self_signed(directory: Path) -> tuple[Path, Path]:
    """An ECDSA P-256 certificate for 127.0.0.1 that is good for 30 days, and its key."""
    certificate, key = directory / "cert.pem", directory / "key.pem"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")
    name = ("-subj", "/CN=relay", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", "req", "-x509", *kind, *name, *files], check=True, timeout=20)
    return certificate, key


async def under_attack(port: int, seconds: float) -> None:
    """Honest households, and from a fifth of the time on hostile peers beside them."""
    tally = Tally()
    homes = [Household(port, f"home-{number}", 4, 8.0, tally) for number in range(8)]
    honest = [asyncio.create_task(home.run()) for home in homes]
    await asyncio.sleep(seconds / 5)
    enemy = Enemy(port, tally)
    hostile = [asyncio.create_task(_in_turn(QUICK[lane::LANES], enemy, tally)) for lane in (0, 1)]
    hostile.append(asyncio.create_task(_in_turn(SLOW[1:], enemy, tally)))
    await asyncio.sleep(seconds * 3 / 5)
    await _cancelled(hostile)
    await asyncio.sleep(seconds / 5)
    for home in homes:
        home.stop()
    await asyncio.gather(*honest)


async def _in_turn(acts: Sequence[Act], enemy: Enemy, tally: Tally) -> None:
    for act in itertools.cycle(acts):
        await attack(act, enemy, tally)
        await asyncio.sleep(0.1)


async def at_peace(port: int, certificate: Path, seconds: float) -> None:
    """Over TLS: a daemon that echoes, phones that talk for a while and leave."""
    trust = ssl.create_default_context(cafile=str(certificate))
    url = f"wss://127.0.0.1:{port}"
    server = {"X-Pyrycode-Server": "calm", "X-Pyrycode-Version": "1"}
    async with connect(f"{url}/v1/server", ssl=trust, additional_headers=server) as daemon:

        async def echo() -> None:
            async for message in daemon:
                if '"frame":' in str(message):  # and not a notice
                    await daemon.send(message)

        tasks = [asyncio.create_task(echo())]
        tasks += [asyncio.create_task(_phone(url, trust)) for _ in range(6)]
        await asyncio.sleep(seconds)
        await _cancelled(tasks)


async def _phone(url: str, trust: ssl.SSLContext) -> None:
    client = {"X-Pyrycode-Server": "calm", "X-Pyrycode-Token": "token"}
    while True:
        async with connect(f"{url}/v1/client", ssl=trust, additional_headers=client) as phone:
            for _ in range(200):
                await phone.send('"' + "x" * 600 + '"')
                await phone.recv()
                await asyncio.sleep(0.02)


async def _cancelled(tasks: "Sequence[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
