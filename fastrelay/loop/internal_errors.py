"""Exceptions that no part of the relay expects: counted and logged in one place.

The code that catches one ends the peer whose call raised, and reports here. What is logged is the
type of the exception and the line that raised it, never its text: the text of many exceptions
quotes what was being read, and frames are never logged.
"""

import asyncio
import contextlib
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from fastrelay.log import Log

_PACKAGE: Final = Path(__file__).parents[1]


class InternalErrors:
    """The internal errors of one relay.

    Attributes:
        count: how many there have been.
    """

    def __init__(self, log: Log) -> None:
        self.count = 0
        self._log = log

    def from_loop(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop's exception handler: see ``loop.set_exception_handler``."""
        self.count += 1
        error = context.get("exception")
        # Where there is no memory for a line of log, the count alone tells.
        with contextlib.suppress(MemoryError):
            text = str(context.get("message")) if error is None else describe(error)
            self._log.limited("internal_error", level="error", err=text)


def report(error: BaseException) -> None:
    """Hand a caught exception to the running loop's exception handler.

    In a relay's process that is :meth:`InternalErrors.from_loop`, which gets what asyncio and
    uvloop catch as well.
    """
    asyncio.get_running_loop().call_exception_handler(
        {"message": "internal error", "exception": error}
    )


def describe(error: BaseException) -> str:
    """The type of ``error`` and the last line of this package that it passed through."""
    location = ""
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        file = Path(traceback.tb_frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE):
            location = f" in {file.relative_to(_PACKAGE)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return type(error).__name__ + location
