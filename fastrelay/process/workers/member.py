"""One worker as the supervisor sees it: its process, its channel, and its state."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

from fastrelay.metrics.process import cpu_of
from fastrelay.net import packets
from fastrelay.policy.watch import Restarts
from fastrelay.process.shared_memory import file_with
from fastrelay.process.workers.channel import Channel, Report, Value
from fastrelay.process.workers.worker import IGNORED

_MODULE: Final = "fastrelay.process.workers.worker"
_OF_THE_SUPERVISOR: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""Variables of the environment that are meant for one process alone."""


class State(Enum):
    """The state of a worker."""

    DOWN = auto()
    """There is no process."""
    STARTING = auto()
    """It is not ready yet."""
    SERVING = auto()
    """It was ready, and serves."""


class Equipment(NamedTuple):
    """What all workers inherit.

    Attributes:
        settings: as JSON, without what only the supervisor needs.
        shared: the descriptor of the shared memory.
        public: the listening sockets of all workers.
        environment: the variables of the supervisor's environment.
        has_push: whether the supervisor sends wakes.
    """

    settings: str
    shared: int
    public: Sequence[socket.socket]
    environment: Mapping[str, str]
    has_push: bool


class Member:
    """The worker with the number ``index``, through all its restarts.

    Args:
        on_report: called with this member, and what the worker says.
        on_death: called with this member when its process is gone.

    Attributes:
        state: see :class:`State`.
        started_at: when its process was started, on the clock of the event loop.
        restarts: how often it was started again.
        backoff: when it is started again.
        stand_in: the worker that accepts in its place; ``None``: none does.
        published: the last number of :attr:`Order.PUBLISH` that came back.
        retired_cpu: seconds of CPU that its earlier processes, which have died, used.
    """

    def __init__(
        self,
        index: int,
        equipment: Equipment,
        backoff: Restarts,
        on_report: Callable[["Member", str, list[Value]], None],
        on_death: Callable[["Member", State, str], None],
    ) -> None:
        self.index = index
        self._equipment = equipment
        self.backoff = backoff
        self._on_report = on_report
        self._on_death = on_death
        self._loop = asyncio.get_running_loop()
        self.state = State.DOWN
        self.started_at = 0.0
        self.restarts = 0
        self.stand_in: int | None = None
        self.published = 0
        self.retired_cpu = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._pidfd = -1

    @property
    def pid(self) -> int:
        """Of its process; 0: there is none."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start its process.

        Raises:
            OSError: that is not possible now.
        """
        equipment = self._equipment
        mine, theirs = packets.packet_pair()
        settings = file_with(equipment.settings.encode())
        inherited = [settings, equipment.shared, theirs.fileno()]
        inherited += [sock.fileno() for sock in equipment.public]
        # A signal that is blocked stays so in the new program, until that ignores it. Otherwise
        # one that is meant for all processes, as from a terminal, could end it before.
        signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
        try:
            self._process = subprocess.Popen(  # noqa: S603  # nothing in it is from outside
                self._command(settings, theirs.fileno()),
                pass_fds=inherited,
                env=dict(equipment.environment),
                stdin=subprocess.DEVNULL,
            )
        except OSError:
            mine.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
            os.close(settings)
            theirs.close()
        self.state, self.started_at = State.STARTING, self._loop.time()
        self._channel = Channel(mine, self._heard, lambda: None)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._ended)

    def _command(self, settings: int, channel: int) -> list[str]:
        equipment = self._equipment
        words = [sys.executable, "-m", _MODULE]
        words += [f"--index={self.index}", f"--workers={len(equipment.public)}"]
        words += [f"--settings-fd={settings}", f"--shared-fd={equipment.shared}"]
        words += [f"--channel-fd={channel}"]
        words += [f"--public-fd={sock.fileno()}" for sock in equipment.public]
        return [*words, "--push"] if equipment.has_push else words

    def say(self, what: str, *values: Value, descriptors: tuple[int, ...] = ()) -> bool:
        """Tell the worker; returns whether it can hear it."""
        return self._channel is not None and self._channel.say(
            what, *values, descriptors=descriptors
        )

    def kill(self) -> None:
        """End its process at once."""
        if self._process is not None:
            # Not Popen.kill(), which reaps a process that has ended, before :meth:`_ended` saw it.
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _heard(self, what: str, values: list[Value], sockets: tuple[socket.socket, ...]) -> None:
        if what == Report.READY:
            self.state = State.SERVING
        self._on_report(self, what, values)

    def _ended(self) -> None:
        assert self._process is not None
        with contextlib.suppress(OSError):  # there may be no /proc
            self.retired_cpu += cpu_of(self._process.pid)
        code = self._process.wait()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._channel is not None:
            self._channel.close()
        before, self.state = self.state, State.DOWN
        self._process = self._channel = None
        self.published = 0
        self._on_death(self, before, f"signal {-code}" if code < 0 else f"exit code {code}")


def environment_of_workers(
    environment: Mapping[str, str], secrets: Sequence[str]
) -> dict[str, str]:
    """The environment without what is not meant for workers; ``secrets`` are names, too."""
    left_out = {*_OF_THE_SUPERVISOR, *secrets}
    return {name: value for name, value in environment.items() if name not in left_out}
