"""A worker as the supervisor sees it, whichever comes first: its end, or the order to kill it."""

import asyncio
import os
import select
import socket
from pathlib import Path

from fastrelay.policy.watch import Restarts
from fastrelay.process.workers.member import Equipment, Member, State


async def test_a_worker_that_has_ended_may_be_killed_all_the_same() -> None:
    died: asyncio.Future[tuple[State, str]] = asyncio.get_running_loop().create_future()
    with Path(os.devnull).open("rb") as nothing, socket.socket() as public:  # noqa: ASYNC230
        # It cannot read its settings, and ends at once.
        equipment = Equipment("", nothing.fileno(), [public], os.environ, has_push=False)
        member = Member(
            0,
            equipment,
            Restarts(1.0, 1.0),
            lambda *_: None,
            lambda _, before, how: died.set_result((before, how)),
        )
        member.start()
        process = os.pidfd_open(member.pid)
        ended = select.poll()
        ended.register(process, select.POLLIN)
        assert ended.poll(20_000)  # the event loop has not run since
        os.close(process)
        member.kill()
        assert await asyncio.wait_for(died, 20) == (State.STARTING, "exit code 1")
    assert member.state is State.DOWN
    member.kill()
