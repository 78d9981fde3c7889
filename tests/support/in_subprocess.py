"""A relay in a process of its own, started as a parent process starts it, seen from outside."""

import asyncio
import contextlib
import os
import signal
import tempfile
import urllib.request
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fastrelay.config.serialised import to_json
from fastrelay.config.settings import Settings
from fastrelay.net.bound_sockets import BoundSockets, bind_all
from fastrelay.process.child import command
from tests.support.running import RunningRelay, Samples


class RelayInSubprocess(RunningRelay):
    """See the module. Each look at it waits until the process has done what it was told before:
    its loop answers a scrape only between callbacks."""

    def __init__(self, process: Process, sockets: BoundSockets, log: Path, *, secure: bool) -> None:
        super().__init__(secure=secure)
        assert sockets.metrics is not None
        self.port: int = sockets.public.getsockname()[1]
        self.metrics_port: int = sockets.metrics.getsockname()[1]
        self._process = process
        self._log = log
        self._descriptors = 0.0

    async def started(self) -> None:
        """Wait until it serves."""
        async with asyncio.timeout(20):
            while " msg=starting " not in self._log.read_text():
                assert self._process.returncode is None, self._log.read_text()
                await asyncio.sleep(0.005)
        self._descriptors = self._open_descriptors()

    @property
    def lines(self) -> list[str]:
        while self._process.returncode is None:
            if not self.samples()["pyrycode_relay_log_lines_queued", ()]:
                break
        return self._log.read_text().splitlines(keepends=True)

    @property
    def live(self) -> int:
        """What it holds beyond what it held at first: sockets of clients, upgraded or not."""
        if self._process.returncode is not None:
            return 0
        return int(self._open_descriptors() - self._descriptors)

    def samples(self) -> Samples:
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as reply:
            text = reply.read().decode()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def _open_descriptors(self) -> float:
        return self.samples()["process_open_fds", ()]

    async def drain(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        await self._end()

    async def stop(self) -> None:
        """End it, if it has not ended; with its clients closed there is nothing to drain."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        await self._end()

    async def _end(self) -> None:
        async with asyncio.timeout(20):
            code = await self._process.wait()
        said = self._log.read_text()
        assert code == 0, said
        assert "Traceback" not in said
        assert not self.log_of("internal_error"), said


@asynccontextmanager
async def relay_in_subprocess(settings: Settings, flood: float) -> AsyncIterator[RelayInSubprocess]:
    """A relay that limits its log to a line in ``flood`` seconds for each event."""
    settings = replace(settings, intervals=replace(settings.intervals, log_flood=flood))
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        with contextlib.closing(bind_all(settings)) as sockets:
            process = await _start(settings, sockets, log)
            running = RelayInSubprocess(process, sockets, log, secure=settings.tls is not None)
        try:
            await running.started()
            yield running
        finally:
            await running.close_clients()
            await running.stop()


async def _start(settings: Settings, sockets: BoundSockets, log: Path) -> Process:
    reader, writer = os.pipe()
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command(reader, sockets),
            pass_fds=(reader, *(sock.fileno() for sock in sockets if sock is not None)),
            stderr=stderr,
        )
    os.close(reader)
    with os.fdopen(writer, "w") as file:
        file.write(to_json(settings))
    return process
