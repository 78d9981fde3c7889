"""Counts and logs the exceptions that the relay does not expect.

The code that catches such an exception ends the connection whose method raised it, and reports it
here. The log line holds the type of the exception and the source line that raised it, but never the
exception's text. Many exceptions quote the data that was being processed, and frames must not
appear in the log.
"""

import asyncio
import contextlib
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from fastrelay.log import Log
from fastrelay.policy.counters.tallies import Tallies

_PACKAGE: Final = Path(__file__).parents[1]


class InternalErrors:
    """The internal errors of one relay, which are counted in ``tallies``."""

    def __init__(self, log: Log, tallies: Tallies | None = None) -> None:
        self._tallies = tallies or Tallies()
        self._log = log

    @property
    def count(self) -> int:
        """The number of internal errors so far."""
        return self._tallies.internal_errors

    def from_loop(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Count and log one error; the handler for ``loop.set_exception_handler``."""
        self._tallies.internal_errors += 1
        error = context.get("exception")
        # If there is no memory to format a log line, the error is only counted.
        with contextlib.suppress(MemoryError):
            text = str(context.get("message")) if error is None else describe(error)
            self._log.limited("internal_error", level="error", err=text)


def report(error: BaseException) -> None:
    """Pass a caught exception to the exception handler of the running event loop.

    In a relay's process that handler is :meth:`InternalErrors.from_loop`. It also receives the
    exceptions that asyncio and uvloop catch.
    """
    asyncio.get_running_loop().call_exception_handler(
        {"message": "internal error", "exception": error}
    )


def describe(error: BaseException) -> str:
    """The type of ``error``, and the innermost source line of this package in its traceback."""
    location = ""
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        file = Path(traceback.tb_frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE):
            location = f" in {file.relative_to(_PACKAGE)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return type(error).__name__ + location
