"""Blocking calls beside the event loop, each in a thread that the process does not wait for."""

import _thread
import asyncio
import contextlib
import errno
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def in_daemon_thread(call: Callable[[], Result]) -> asyncio.Future[Result]:
    """Run ``call`` in a new thread; returns the future of its result.

    The event loop's own executor is not used. The event loop waits for it when it is closed, so a
    call that hangs would delay the end of the process. Cancelling the future does not end the call.
    If no thread can be started, the future has an ``OSError``.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def set_outcome(result: list[Result], error: BaseException | None) -> None:
        if future.done():
            return  # it was cancelled
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result[0])

    def run() -> None:
        result: list[Result] = []
        failure: BaseException | None = None
        try:
            result.append(call())
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(set_outcome, result, failure)

    # Thread.start() would make the loop wait until the new thread has run.
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError as error:  # the limit of threads, or no memory for its stack
        future.set_exception(OSError(errno.EAGAIN, str(error)))
    return future
