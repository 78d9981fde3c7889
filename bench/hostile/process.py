"""Attackers and honest peers live in processes of their own, driven over a pipe.

A child says when it is set up, begins when it is told to, and answers with its result. It ends
when its pipe does, so it cannot outlive its parent.
"""

import asyncio
import contextlib
import multiprocessing
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Protocol, Self

import uvloop

from bench.support.generator import Failed

SET_UP: Final = 180.0
"""Seconds until a child must be set up: ten thousand upgrades take a while on a busy machine."""

_SPAWN: Final = multiprocessing.get_context("spawn")
_GOODBYE: Final = 10.0


class Part(Protocol):
    """What a child does, in the three steps that its parent asks for."""

    async def set_up(self) -> None:
        """Connect; nothing hurts yet."""

    async def run(self, stop: asyncio.Event) -> None:
        """Do it until ``stop`` is set, or until it is over by itself."""

    def result(self) -> dict[str, Any]:
        """What came of it."""


class Child:
    """A process that plays one part.

    Args:
        make: makes the part, in the child, from ``plan``; both are pickled.
    """

    def __init__(self, make: Callable[[Any], Part], plan: object) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_live, args=(theirs, make, plan), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join(_GOODBYE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def wait(self, patience: float = SET_UP) -> dict[str, Any]:
        """The child's next word: empty once it is set up, then its result.

        Raises:
            Failed: it did not come, or the child could not do its part.
        """
        try:
            if not self._pipe.poll(patience):
                raise Failed(f"no word from a child for {patience:g} s")
            word: dict[str, Any] = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise Failed("a child has ended") from None
        if "error" in word:
            raise Failed(word["error"])
        return word

    def has_word(self, seconds: float) -> bool:
        """Whether :meth:`wait` would return at once; looks for so long."""
        return self._pipe.poll(seconds)

    def tell(self) -> None:
        """Begin, or stop."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe.send(None)


def _live(pipe: Connection, make: Callable[[Any], Part], plan: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise_descriptors()
    uvloop.run(_play(pipe, make, plan))


async def _play(pipe: Connection, make: Callable[[Any], Part], plan: object) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), told.set)
    try:
        part = make(plan)
        if not await _unless_told(told, part.set_up()):
            return
        _say(pipe, {})
        await told.wait()
        try:
            pipe.recv()
        except (EOFError, ConnectionError):
            return  # the parent has ended
        told.clear()
        await part.run(told)
        _say(pipe, part.result())
    except Exception as error:
        _say(pipe, {"error": f"{type(error).__name__}: {error}"})


def _say(pipe: Connection, word: dict[str, Any]) -> None:
    with contextlib.suppress(ConnectionError):  # the parent has no use for us any more
        pipe.send(word)


async def _unless_told(told: asyncio.Event, step: Awaitable[None]) -> bool:
    """Whether the step was done before the parent said anything: before that, it only hangs up."""
    doing, waiting = asyncio.ensure_future(step), asyncio.ensure_future(told.wait())
    await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if doing.done():
        doing.result()
        return True
    doing.cancel()
    return False


def raise_descriptors() -> int:
    """Let this process and its children open as many files as they may; returns how many.

    Where the hard limit is below what is wanted, only privileges could raise it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the limit of open files cannot be raised to {hard}: {error}\n")
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
