"""A relay in a process of its own whose stderr takes nothing: it relays on, answers and stops.

What the queue and its thread do one by one is in ``tests/process/test_log_writer.py``.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from bench.support.ports import free_port
from tests.support.peer import Peer, open_http, open_peer, request

LONG = "s" * 250
"""The longest server-ids are 256 bytes. The numbered ones of 32 connects are more than a pipe holds
when it is the smallest there is."""

SMALLEST_PIPE = 4096


class Relay:
    """A running ``python -m fastrelay`` with a given stderr."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, metrics_port: int) -> None:
        self.process = process
        self.port = port
        self.metrics_port = metrics_port
        self._peers: list[Peer] = []

    async def get(self, port: int, path: str) -> str:
        async with await open_http(port) as client:
            client.send(request(path, {"Host": "127.0.0.1"}))
            status, _, body = await client.response()
            assert status == 200
            return body.decode()

    async def metric(self, name: str) -> int:
        text = await self.get(self.metrics_port, "/metrics")
        found = re.search(rf"^pyrycode_relay_{name} (\S+)$", text, re.MULTILINE)
        assert found
        return int(float(found[1]))

    async def peer(self, kind: str, server_id: str) -> Peer:
        headers = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Version": "1"}
        peer = await open_peer(self.port, f"/v1/{kind}", headers | {"X-Pyrycode-Token": "t"})
        self._peers.append(peer)
        return peer

    async def relays_and_answers(self) -> None:
        """A binary and a phone exchange frames, and ``/healthz`` counts them."""
        server_id = f"works-{len(self._peers)}"
        binary, phone = await self.peer("server", server_id), await self.peer("client", server_id)
        for number in range(20):
            phone.send_text(f"{number}")
            envelope = await binary.json()
            assert envelope["frame"] == number
            binary.send_json({"conn_id": envelope["conn_id"], "frame": -number})
            assert await phone.text() == f"{-number}".encode()
        assert '"status":"ok"' in await self.get(self.port, "/healthz")

    async def connects(self, number: int) -> None:
        """So many binaries come and stay; each is a line of log that holds its server-id."""
        for n in range(number):
            await self.peer("server", f"{n:05}{LONG}")

    async def terminated(self) -> None:
        """SIGTERM tells the peers and ends it with exit code 0."""
        for peer in self._peers:
            assert not peer.reader.at_eof()
        self.process.send_signal(signal.SIGTERM)
        for peer in self._peers:
            assert (await peer.closed())[0] == 1001
        async with asyncio.timeout(40):
            assert await self.process.wait() == 0

    async def close(self) -> None:
        for peer in self._peers:
            await peer.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def relay_with(
    stderr: int | None, *flags: str, closed: Sequence[int] = ()
) -> AsyncIterator[Relay]:
    """A relay whose descriptor 2 is ``stderr``, or some of whose are ``closed``, once it serves."""
    closing = " ".join(f"{descriptor}>&-" for descriptor in closed)
    port, metrics_port = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'exec "$@" {closing}', "sh"),
        *(sys.executable, "-m", "fastrelay", "--upgrade-burst", "0"),
        *(
            "--insecure-listen",
            f"127.0.0.1:{port}",
            "--metrics-listen",
            f"127.0.0.1:{metrics_port}",
        ),
        *flags,
        stderr=stderr,
    )
    relay = Relay(process, port, metrics_port)
    try:
        async with asyncio.timeout(40):
            while True:
                assert process.returncode is None
                with contextlib.suppress(OSError):
                    await relay.get(port, "/healthz")
                    break
                await asyncio.sleep(0.02)
        yield relay
    finally:
        await relay.close()


@asynccontextmanager
async def small_pipe() -> AsyncIterator[list[int]]:
    """A pipe that holds as little as a pipe can."""
    ends = list(os.pipe())
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


async def read_on(reader: int, until: str) -> str:
    """What comes out of a pipe until ``until`` is in it."""
    os.set_blocking(reader, False)
    read = ""
    async with asyncio.timeout(40):
        while until not in read:
            with contextlib.suppress(BlockingIOError):
                read += os.read(reader, 1_000_000).decode()
            await asyncio.sleep(0.001)
    return read


async def test_connects_with_long_names_fill_a_pipe_that_is_not_read() -> None:
    """Frames, /healthz and SIGTERM work; what is read then is whole lines in their order."""
    async with small_pipe() as ends, relay_with(ends[1], "--workers", "1") as relay:
        await relay.connects(32)
        assert await relay.metric("log_lines_queued") > 0
        await relay.relays_and_answers()
        text = await read_on(ends[0], "msg=phone_registered")
        stopping = asyncio.create_task(relay.terminated())
        text += await read_on(ends[0], 'msg="shutdown complete" version=')
        await stopping
        lines = text.splitlines()
        whole = re.compile(r'time=\S+Z level=\w+ msg=(?:\w+|"[\w; ]+") \w+=')
        assert all(whole.match(line) for line in lines)
        names = [f"{n:05}" for n in range(32)]
        assert re.findall(rf"msg=server_claimed server_id=(\d+){LONG} ", text) == names
        assert set(re.findall(rf"msg=server_released server_id=(\d+){LONG} ", text)) == set(names)
        assert [line for line in lines if "log_lines_lost" in line] == []
        assert ' msg="shutdown complete" ' in lines[-1]


async def test_lines_that_find_no_room_are_counted_and_said() -> None:
    """The queue holds 1 MiB; a binary that comes and goes is three lines of log."""
    flags = ("--workers", "1", "--log-level", "debug")  # each worker has a queue of its own
    async with small_pipe() as ends, relay_with(ends[1], *flags) as relay:
        while not await relay.metric("log_lines_lost_total"):
            await asyncio.gather(*(comes_and_goes(relay) for _ in range(100)))
        await relay.relays_and_answers()
        lost = await relay.metric("log_lines_lost_total")
        text = await read_on(ends[0], "msg=log_lines_lost ")
        while not text.endswith("\n"):
            text += await read_on(ends[0], "\n")
        assert f" level=WARN msg=log_lines_lost count={lost}\n" in text
        await relay.relays_and_answers()
        assert await relay.metric("log_lines_lost_total") == lost
        await relay.terminated()


async def comes_and_goes(relay: Relay) -> None:
    """A binary that comes and goes, with a name that fills the log."""
    headers = {"X-Pyrycode-Server": os.urandom(100).hex()}
    binary = await open_peer(relay.port, "/v1/server", headers | {"X-Pyrycode-Version": "1"})
    await binary.close()


async def test_the_second_signal_works_and_exit_waits_for_no_reader() -> None:
    async with small_pipe() as ends, relay_with(ends[1]) as relay:
        await relay.connects(32)
        silent = await relay.peer("server", "does not answer the close frame")
        relay.process.send_signal(signal.SIGTERM)
        assert (await silent.closed(answer=False))[0] == 1001
        relay.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(8):  # The drain alone would take 10 s.
            assert await relay.process.wait() == 0


async def test_a_terminal_whose_output_is_stopped() -> None:
    """As by Ctrl-S."""
    main, terminal = os.openpty()
    try:
        termios.tcflow(terminal, termios.TCOOFF)
        async with relay_with(terminal) as relay:
            await relay.connects(32)
            await relay.relays_and_answers()
            assert await relay.metric("log_lines_queued") > 0
            termios.tcflow(terminal, termios.TCOON)
            await read_on(main, "server_id=00031")  # lines of two workers have no common order
            termios.tcflow(terminal, termios.TCOOFF)
            await relay.terminated()
    finally:
        os.close(main)
        os.close(terminal)


async def test_a_disk_that_is_full() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        async with relay_with(full) as relay:
            await relay.connects(3)
            await relay.relays_and_answers()
            async with asyncio.timeout(40):
                while await relay.metric("log_lines_queued"):
                    await asyncio.sleep(0.005)
            assert await relay.metric("log_lines_lost_total") == 3 + 5  # at start, and peers
            await relay.terminated()
    finally:
        os.close(full)


async def test_a_pipe_that_is_closed() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        async with relay_with(writer) as relay:
            await relay.relays_and_answers()
            async with asyncio.timeout(40):
                while await relay.metric("log_lines_queued"):
                    await asyncio.sleep(0.005)
            assert await relay.metric("log_lines_lost_total") == 5
            await relay.terminated()
    finally:
        os.close(writer)


@pytest.mark.parametrize("closed", [[2], [0, 1, 2]])
async def test_standard_descriptors_that_are_closed(closed: list[int]) -> None:
    """No socket gets their number, so nothing printed can reach a peer."""

    async with relay_with(None, closed=closed) as relay:
        await relay.relays_and_answers()
        for descriptor in closed:
            assert os.readlink(f"/proc/{relay.process.pid}/fd/{descriptor}") == os.devnull
        async with asyncio.timeout(40):
            while await relay.metric("log_lines_queued"):
                await asyncio.sleep(0.005)
        assert await relay.metric("log_lines_lost_total") == 5
        await relay.terminated()


@pytest.mark.parametrize("stderr", ["/dev/full", "closed"])
@pytest.mark.parametrize("flags", [(), ("--no-such-flag",), ("--insecure-listen", "nonsense")])
def test_a_refusal_that_cannot_be_printed_has_its_exit_code(
    stderr: str, flags: tuple[str, ...]
) -> None:
    redirection = "2>&-" if stderr == "closed" else f"2>{stderr}"
    command = [sys.executable, "-m", "fastrelay", *flags]
    done = subprocess.run(["sh", "-c", f'"$@" {redirection}', "sh", *command], timeout=20)
    assert done.returncode == 2
