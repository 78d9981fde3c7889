"""Work that is asked for too often is done often enough, and no more."""

import asyncio

from fastrelay.loop.coalesced import Coalesced


class Work:
    """Counts how often it was begun; each time it waits to be told to end."""

    def __init__(self) -> None:
        self.begun = 0
        self.running = 0
        self.go = asyncio.Semaphore(0)

    async def __call__(self) -> None:
        self.begun += 1
        self.running += 1
        assert self.running == 1
        try:
            await self.go.acquire()
        finally:
            self.running -= 1

    async def until(self, begun: int) -> None:
        async with asyncio.timeout(40):
            while self.begun < begun or self.running:
                await asyncio.sleep(0)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_requests_while_it_runs_are_one_more_run() -> None:
    work = Work()
    coalesced = Coalesced(work, 0.0)
    for _ in range(1000):
        coalesced.request()
    await turns()
    assert work.begun == 1
    for _ in range(1000):
        coalesced.request()
        await turns(1)
    assert work.begun == 1
    work.go.release()
    work.go.release()
    await work.until(2)
    await turns()
    assert work.begun == 2
    coalesced.request()  # and it can be asked again
    work.go.release()
    await work.until(3)
    await coalesced.stop()


async def test_within_the_interval_there_is_no_other_run() -> None:
    work = Work()
    coalesced = Coalesced(work, 3600.0)
    for _ in range(100):
        coalesced.request()
        work.go.release()
        await turns(2)
    assert work.begun == 1
    await coalesced.stop()


async def test_a_run_is_cancelled_by_stop() -> None:
    work = Work()
    coalesced = Coalesced(work, 0.0)
    coalesced.request()
    await turns()
    await coalesced.stop()
    assert (work.begun, work.running) == (1, 0)
