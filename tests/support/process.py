"""A relay as a process of its own, measured from outside."""

import asyncio
import contextlib
import re
import resource
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

from bench.support.ports import free_port


class RelayProcess:
    """A running ``python -m fastrelay``."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, metrics_port: int, log: Path
    ) -> None:
        self.process = process
        self.port = port
        self.metrics_port = metrics_port
        self._log = log

    async def logged(self) -> str:
        """All of stderr, once the lines of what was answered before are written."""
        async with asyncio.timeout(40):
            while "\npyrycode_relay_log_lines_queued 0.0\n" not in await self.get(
                self.metrics_port, "/metrics"
            ):
                await asyncio.sleep(0.005)
        return self.log

    @property
    def log(self) -> str:
        """All of stderr so far."""
        return self._log.read_text()

    @property
    def resident(self) -> int:
        """Bytes of resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    @property
    def descriptors(self) -> int:
        """Open file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    async def get(self, port: int, path: str) -> str:
        """The body of a plain GET."""
        url = f"http://127.0.0.1:{port}{path}"
        return await asyncio.to_thread(
            lambda: urllib.request.urlopen(url, timeout=40).read().decode()
        )


@contextlib.asynccontextmanager
async def relay_process(
    log: Path, *flags: str, descriptors: int = 4096
) -> AsyncIterator[RelayProcess]:
    """A relay on free ports, ready to serve; terminated at the end, which must be clean.

    ``descriptors``: how many files it may have open.
    """
    port, metrics_port = free_port(), free_port()
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fastrelay"),
            *("--insecure-listen", f"127.0.0.1:{port}"),
            *("--metrics-listen", f"127.0.0.1:{metrics_port}"),
            *flags,
            stderr=stderr,
            preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_NOFILE, (descriptors, descriptors)
            ),
        )
    try:
        async with asyncio.timeout(40):
            while " msg=starting " not in log.read_text():
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.02)
        yield RelayProcess(process, port, metrics_port, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        assert await process.wait() == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def marked(mark: str) -> list[int]:
    """Processes that have ``mark`` in their environment."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in file.read_bytes():
                found.append(int(file.parent.name))
    return found
