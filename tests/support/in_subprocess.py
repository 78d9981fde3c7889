"""A relay in a process of its own, started as a parent process starts it, seen from outside."""

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
import urllib.request
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fastrelay.config.serialised import to_json
from fastrelay.config.settings import Settings
from fastrelay.net.bound_sockets import BoundSockets, bind_for_workers
from fastrelay.process.child import command
from tests.support.peer import HttpClient, port_of
from tests.support.running import RunningRelay, Samples


class RelayInSubprocess(RunningRelay):
    """See the module. Each look at it waits until the process has done what it was told before:
    its loop answers a scrape only between callbacks."""

    between_looks = 0.01  # most looks are scrapes, which take as long: less is left for the relay

    def __init__(self, process: Process, sockets: BoundSockets, log: Path, *, secure: bool) -> None:
        super().__init__(secure=secure)
        assert sockets.metrics is not None
        assert sockets.public is not None
        self.port: int = sockets.public.getsockname()[1]
        self.metrics_port: int = sockets.metrics.getsockname()[1]
        self._process = process
        self._log = log
        self._expected = 0

    @property
    def pid(self) -> int:
        """Of the process that was started: the supervisor's, with workers."""
        return self._process.pid

    @property
    def workers(self) -> dict[int, int]:
        """The process of each worker that has one."""
        found = {}
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                for word in words:
                    if word.startswith("--index="):
                        found[int(word.partition("=")[2])] = int(pid)
        return found

    async def owner_of(self, peer: HttpClient) -> int:
        """The one worker whose process holds the socket of a connection, once it is handed over."""
        async with asyncio.timeout(40):
            while len(holders := self.holders_of(peer)) != 1:
                await asyncio.sleep(0.001)
        return holders[0]

    def holders_of(self, peer: HttpClient) -> list[int]:
        """The workers whose processes hold the socket of a connection: two if it is spliced."""
        port = port_of(peer)
        return [i for i, pid in self.workers.items() if port in _peer_ports(pid, self.port)]

    def ports_at(self, *workers: int) -> set[int]:
        """The ports of all connections that these workers hold."""
        pids = self.workers
        return set().union(*(_peer_ports(pids[i], self.port) for i in workers))

    async def http_at(self, worker: int, *, window: int = 0) -> HttpClient:
        """A connection that has sent nothing yet, and that this worker has accepted."""
        while True:
            client = await self.http(window=window)
            if await self.owner_of(client) == worker:
                return client
            await client.close()

    @property
    def listening(self) -> dict[int, int]:
        """How many descriptors of public listening sockets each worker has."""
        return {i: len(_tcp(pid, self.port, listening=True)) for i, pid in self.workers.items()}

    async def started(self) -> None:
        """Wait until it serves."""
        async with asyncio.timeout(40):
            while " msg=starting " not in self._log.read_text():
                assert self._process.returncode is None, self._log.read_text()
                await asyncio.sleep(0.005)

    @property
    def lines(self) -> list[str]:
        while self._process.returncode is None:
            if not self.samples()["pyrycode_relay_log_lines_queued", ()]:
                break
        return self._log.read_text().splitlines(keepends=True)

    @property
    def live(self) -> int:
        """Sockets of clients, upgraded or not."""
        if self._process.returncode is not None:
            return 0
        self.samples()
        return len(set().union(*(_peer_ports(pid, self.port) for pid in self._serving)))

    def samples(self) -> Samples:
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=40) as reply:
            text = reply.read().decode()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    @property
    def _serving(self) -> list[int]:
        """The processes that serve."""
        return list(self.workers.values()) or [self.pid]

    def expect(self, code: int) -> None:
        """It will end with another exit code than 0."""
        self._expected = code

    async def drain(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        await self._end()

    async def stop(self) -> None:
        """End it, if it has not ended; with its clients closed there is nothing to drain."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        await self._end()

    async def _end(self) -> None:
        async with asyncio.timeout(40):
            code = await self._process.wait()
        said = self._log.read_text()
        assert code == self._expected, said
        assert "Traceback" not in said
        assert not self.log_of("internal_error"), said


def _peer_ports(pid: int, port: int) -> set[int]:
    """The ports of the peers of the TCP connections that a process has on its own ``port``."""
    return set(_tcp(pid, port, listening=False))


def _tcp(pid: int, port: int, *, listening: bool) -> list[int]:
    """The port of the peer for each descriptor of TCP that a process has on its own ``port``."""
    inodes, peers = [], {}
    for file in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.append(os.readlink(f"/proc/{pid}/fd/{file}"))
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(field.rpartition(":")[2], 16) for field in fields[1:3])
        if local == port and (remote == 0) == listening:
            peers[f"socket:[{fields[9]}]"] = remote
    return [peers[inode] for inode in inodes if inode in peers]


@asynccontextmanager
async def relay_in_subprocess(settings: Settings, flood: float) -> AsyncIterator[RelayInSubprocess]:
    """A relay that limits its log to a line in ``flood`` seconds for each event."""
    async with starting_relay(settings, flood) as running:
        await running.started()
        yield running


@asynccontextmanager
async def starting_relay(settings: Settings, flood: float) -> AsyncIterator[RelayInSubprocess]:
    """The same, which may not serve yet."""
    settings = replace(settings, intervals=replace(settings.intervals, log_flood=flood))
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        public, others = bind_for_workers(settings, settings.workers)
        with contextlib.ExitStack() as stack:
            for sock in (*public, others):
                stack.enter_context(contextlib.closing(sock))
            sockets = others._replace(public=public[0])
            process = await start_process(settings, sockets, public[1:], log)
            running = RelayInSubprocess(process, sockets, log, secure=settings.tls is not None)
        try:
            yield running
        finally:
            await running.close_clients()
            await running.stop()


def relay_with_workers(
    settings: Settings, flood: float
) -> AbstractAsyncContextManager[RelayInSubprocess]:
    """The same with a supervisor and two workers, unless the settings say how many."""
    workers = settings.workers if settings.workers > 1 else 2
    return relay_in_subprocess(replace(settings, workers=workers), flood)


async def start_process(
    settings: Settings, sockets: BoundSockets, more: list[socket.socket], log: Path
) -> Process:
    """Start a relay on sockets that the caller has bound, and goes on to hold.

    Args:
        more: the public sockets of the second worker and of those behind it.
    """
    reader, writer = os.pipe()
    inherited = [sock.fileno() for sock in (*sockets, *more) if sock is not None]
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command(reader, sockets, more), pass_fds=(reader, *inherited), stderr=stderr
        )
    os.close(reader)
    with os.fdopen(writer, "w") as file:
        file.write(to_json(settings))
    return process
