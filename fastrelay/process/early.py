"""Handles signals, core dumps and the environment before anything else is imported.

Importing the relay takes some 200 ms. Without this module, the default actions of signals would
apply during this time: SIGHUP would end the process, and the kernel would not deliver SIGTERM to
process 1 of a container, because that process has no handler for it (pid_namespaces(7)). This
module therefore imports very little.
"""

import contextlib
import os
import resource
import signal
from collections.abc import Iterable, MutableMapping
from types import FrameType
from typing import Final

MISLEADING: Final = (
    "PROMETHEUS_MULTIPROC_DIR",
    "prometheus_multiproc_dir",
    "SSLKEYLOGFILE",
)
"""Variables that libraries read and that must not change a relay.

With the first two, which are one in two spellings, ``prometheus_client`` keeps counters in files
and begins with the values of an earlier process of the same number. With the third, Python's
``ssl`` writes the keys of every outgoing connection to a file, and fails if it cannot.
"""


def forget_misleading(environment: MutableMapping[str, str]) -> None:
    """Remove the variables of :data:`MISLEADING`, for this process and those that it starts."""
    for name in MISLEADING:
        environment.pop(name, None)


def expect_signals() -> None:
    """End with exit code 0 at SIGTERM and SIGINT, because nothing has to be drained yet.

    SIGHUP does nothing. The event loop replaces these handlers when it can do better.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    signal.signal(signal.SIGHUP, _go_on)


def hold_back_signals() -> None:
    """Deliver no signal any more that would change the exit code of a process that is ending.

    The event loop restores the default actions when it is closed, some milliseconds before the
    process ends.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))


def forbid_core_dumps() -> None:
    """Leave no core dump of this process or its children: keys and tokens are in their memory."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def runs_a_relay(arguments: Iterable[str]) -> bool:
    """Whether the command is that of a relay, and not one of the tools, which come first."""
    return next(iter(arguments), "-").startswith("-")


def _end(number: int, frame: FrameType | None) -> None:
    # Not SystemExit, which code that is being imported could catch.
    os._exit(0)


def _go_on(number: int, frame: FrameType | None) -> None:
    """Do nothing. Unlike SIG_IGN this is not inherited by other programs."""
