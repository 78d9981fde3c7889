"""How every asynchronous test runs: on uvloop, in a loop of its own that must end empty."""

import asyncio
import gc
import inspect
import signal
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from tests.support.peer import HttpClient

# No test that is not marked as slow needs as long as this, in seconds, even beside other work. One
# that waits for ever is then a failure with its name and the place, not a run that never ends.
LONGEST_TEST = 90.0

# How long an example takes says what else the machine is doing. In CI (the variable) hypothesis
# draws the same examples each time.
settings.register_profile(
    "calm", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("calm")


def pytest_collection_finish() -> None:
    """Take modules and test items, which stay, out of the collections that follow each test."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test to its end; fail it if it leaves a task, or the loop saw an error."""
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    wanted = inspect.signature(function).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}
    uvloop.run(_checked(function, arguments))
    gc.collect()  # a socket or a task left behind warns here, in the test that left it
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Give up a test that is no coroutine and takes too long. Slow ones have their own limits."""
    if item.get_closest_marker("slow") or inspect.iscoroutinefunction(getattr(item, "obj", None)):
        return (yield)
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(int(LONGEST_TEST))
    try:
        return (yield)
    finally:
        signal.alarm(0)


def _give_up(*_: object) -> None:
    raise TimeoutError(f"the test did not end within {LONGEST_TEST} s")


async def _checked(
    function: Callable[..., Coroutine[Any, Any, None]], arguments: dict[str, Any]
) -> None:
    faults: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    printing = loop.call_later(LONGEST_TEST - 1, _print_tasks)
    try:
        async with asyncio.timeout(LONGEST_TEST):
            await function(**arguments)
    finally:
        printing.cancel()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left running: {left}"
    assert not faults, faults
    open_clients, HttpClient.left_open = HttpClient.left_open, set()
    assert not open_clients, f"clients left open: {open_clients}"


def _print_tasks() -> None:
    """Print where every task of a test that is about to be given up stands."""
    for task in asyncio.all_tasks():
        task.print_stack()
