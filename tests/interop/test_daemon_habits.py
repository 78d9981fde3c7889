"""A daemon with the habits of those deployed: when it comes back, when it waits, when it gives up.

It dials again after every refusal and every close. After eight 4409 in a row it gives up, because
another daemon has its identity.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.attempts import ask
from tests.support.harness import running_relay

NAME: Final = {"X-Pyrycode-Server": "home", "X-Pyrycode-Version": "1.2.3"}
SERVER_ID_IN_USE: Final = 4409
MOST_CONFLICTS: Final = 8
LIMIT: Final = 256 * 1024


class Daemon:
    """Dials ``port`` again and again, and answers each frame with what ``answer`` makes of it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.saw: list[int] = []  # statuses of upgrades and codes of closes
        self.waits: list[str | None] = []  # the Retry-After of refusals
        self.answer: Callable[[Any], Any] = lambda frame: frame

    async def run(self) -> None:
        conflicts = 0
        while conflicts < MOST_CONFLICTS:
            try:
                async with connected(self.port) as relay:
                    self.saw.append(101)
                    code = await self._serve(relay)
            except InvalidStatus as refused:
                code = refused.response.status_code
                self.waits.append(refused.response.headers.get("Retry-After"))
            self.saw.append(code)
            conflicts = conflicts + 1 if code == SERVER_ID_IN_USE else 0
            await asyncio.sleep(0.02)

    async def _serve(self, relay: ClientConnection) -> int:
        try:
            while True:
                envelope = json.loads(await relay.recv())
                if "frame" in envelope:
                    answer = envelope | {"frame": self.answer(envelope["frame"])}
                    await relay.send(json.dumps(answer))
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 1006


def connected(port: int) -> connect:
    url = f"ws://127.0.0.1:{port}/v1/server"
    return connect(url, additional_headers=NAME, user_agent_header="daemon/1", proxy=None)


@asynccontextmanager
async def living(daemon: Daemon) -> AsyncIterator[None]:
    life = asyncio.create_task(daemon.run())
    try:
        yield
    finally:
        life.cancel()
        await asyncio.wait({life})


async def answers(relay: Any, text: str) -> None:
    """A phone gets its own frame back, once the daemon has come."""
    await relay.until(lambda: relay.value("connected_binaries") == 1)
    phone = await relay.phone(**{"X-Pyrycode-Server": "home"})
    phone.send_text(json.dumps(text))
    assert await phone.json() == text
    await phone.say_goodbye()


async def test_429_says_when_to_come_again_and_it_comes_again() -> None:
    limits = {"upgrade_burst": 1, "upgrade_refill": 1e6}
    async with running_relay(limits=limits) as limited, running_relay() as other:
        daemon = Daemon(limited.port)
        await ask(limited, "/v1/server", {})
        async with living(daemon):
            await limited.until(lambda: len(daemon.waits) >= 2)
            assert set(daemon.saw) == {429}
            assert all(wait is not None and int(wait) >= 1 for wait in daemon.waits)
            daemon.port = other.port
            await answers(other, "after 429")


async def test_503_while_the_relay_is_full_and_then_it_is_let_in() -> None:
    async with running_relay(limits={"connections": 2}) as relay:
        others = [await relay.binary(**{"X-Pyrycode-Server": name}) for name in ("a", "b")]
        daemon = Daemon(relay.port)
        async with living(daemon):
            await relay.until(lambda: daemon.saw.count(503) >= 2)
            for other in others:
                await other.say_goodbye()
            await answers(relay, "after 503")
        assert 101 in daemon.saw


async def test_after_1001_it_comes_to_the_relay_that_is_there_next() -> None:
    async with running_relay() as old, running_relay() as new:
        daemon = Daemon(old.port)
        async with living(daemon):
            await answers(old, "before")
            daemon.port = new.port
            await old.drain()
            await new.until(lambda: 1001 in daemon.saw)
            await answers(new, "after")


async def test_after_1009_it_comes_back_to_its_name() -> None:
    async with running_relay() as relay:
        daemon = Daemon(relay.port)
        async with living(daemon):
            await answers(relay, "before")
            daemon.answer = lambda frame: "x" * LIMIT
            phone = await relay.phone(**{"X-Pyrycode-Server": "home"})
            phone.send_text("1")
            await relay.until(lambda: 1009 in daemon.saw)
            daemon.answer = lambda frame: frame
            await relay.until(lambda: daemon.saw[-1] == 101)
            await answers(relay, "after")


async def test_it_gives_up_after_eight_4409_and_the_other_is_untouched() -> None:
    async with running_relay() as relay:
        async with connected(relay.port) as incumbent:
            await relay.until(lambda: relay.value("connected_binaries") == 1)
            daemon = Daemon(relay.port)
            await daemon.run()
            assert daemon.saw == [101, SERVER_ID_IN_USE] * MOST_CONFLICTS
            phone = await relay.phone(**{"X-Pyrycode-Server": "home"})
            phone.send_text("1")
            assert json.loads(await incumbent.recv())["frame"] == 1
