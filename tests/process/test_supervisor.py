"""What the supervisor does about its workers: stand-ins for them, and a clock of the test."""

import asyncio
from typing import Any, cast

from fastrelay.log import Log
from fastrelay.net.bound_sockets import BoundSockets
from fastrelay.policy.shared.layout import SharedState, size_of
from fastrelay.process.workers.member import Member, State
from fastrelay.process.workers.supervisor import Supervisor
from tests.support.clock import Loop
from tests.support.harness import settings_for


class Worker:
    """A worker as far as the supervisor looks at it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.state = State.SERVING
        self.started_at = 0.0
        self.stand_in: int | None = None
        self.kills = 0

    def say(self, what: str, *values: object) -> bool:
        return True

    def kill(self) -> None:
        self.kills += 1


async def test_a_worker_that_does_not_become_ready_is_killed_after_a_minute() -> None:
    loop, shared = Loop(), SharedState(memoryview(bytearray(size_of(2))), 2)
    lines: list[str] = []
    settings = settings_for(workers=2)
    supervisor = Supervisor(settings, [], BoundSockets(), shared, -1, Log(lines.append))
    supervisor._loop = cast(asyncio.AbstractEventLoop, loop)
    supervisor._started = asyncio.Event()
    supervisor._started.set()
    members: Any = [Worker(0), Worker(1)]
    supervisor._members = cast("list[Member]", members)
    members[1].state, members[1].started_at = State.STARTING, loop.time()

    def look_for(seconds: float) -> int:
        for _ in range(round(seconds * 2)):
            loop.now += 0.5
            shared.pulses[0].cells[0] = loop.time()
            supervisor._look()
        kills: int = members[1].kills
        return kills

    assert look_for(59) == 0
    assert look_for(2) >= 1
    assert members[0].kills == 0
    assert " msg=worker_hung worker=1\n" in lines[0]
