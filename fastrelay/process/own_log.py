"""The log of one process: its lines, the thread that writes them, and stderr."""

import contextlib
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Final

from fastrelay.config.settings import Settings
from fastrelay.log import Log
from fastrelay.process.log_writer import CLOSED, LogWriter, stderr_through

_STDERR: Final = 2


@contextlib.contextmanager
def own_log(
    settings: Settings,
    flood: Callable[[str, float], bool] = lambda event, now: True,
    unsaid: Collection[str] = (),
) -> Iterator[Log]:
    """A log on stderr; what Python itself writes there meanwhile is queued with its lines.

    Args:
        flood, unsaid: see :class:`Log`.
    """
    # Without one at start, Python has no stream either, and its number may be any other file's.
    writer = LogWriter(CLOSED if sys.__stderr__ is None else _STDERR)
    log = Log(
        writer.write,
        settings.log_level,
        as_json=settings.log_format == "json",
        flood_interval=settings.intervals.log_flood,
        strict=False,
        counts=writer.counts,
        flood=flood,
        unsaid=unsaid,
    )
    writer.start(log.loss_line)
    with contextlib.closing(writer), stderr_through(writer):
        yield log
