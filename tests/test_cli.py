"""The command itself: what it says about itself, how it starts, how signals end it."""

import asyncio
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bench.support.ports import free_port
from fastrelay import __version__
from tests.support.command import LISTEN, refused, run
from tests.support.peer import Peer, open_http, open_peer, request


class Command:
    """A relay in a process of its own, that has said it is starting."""

    def __init__(self, process: Process, port: int, said: str) -> None:
        self.process = process
        self.port = port
        self.said = said

    async def binary(self) -> Peer:
        headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1"}
        return await open_peer(self.port, "/v1/server", headers)

    async def phone(self) -> Peer:
        headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t0k3n"}
        return await open_peer(self.port, "/v1/client", headers)

    async def next_line(self) -> str:
        """The next line on stderr."""
        assert self.process.stderr is not None
        async with asyncio.timeout(40):
            return (await self.process.stderr.readline()).decode()

    async def end(self, within: float = 10.0) -> tuple[int, str]:
        """The exit code, and what was said on stderr since the last line read."""
        async with asyncio.timeout(within):
            _, said = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, said.decode()


@asynccontextmanager
async def running_command(
    *flags: str, metrics: str = "", program: tuple[str, ...] = ("-m", "fastrelay")
) -> AsyncIterator[Command]:
    """``fastrelay`` with ``flags``, on a free port; ``program``: what Python runs instead."""
    port = free_port()
    arguments = ("--insecure-listen", f"127.0.0.1:{port}", "--metrics-listen", metrics, *flags)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *program, *arguments, stderr=PIPE
    )
    command = Command(process, port, "")
    try:
        command.said = await command.next_line()
        yield command
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


# -- what it says about itself --------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("chek", "did you mean check? "),
        ("prob", "did you mean probe? "),
        ("file", "did you mean files? "),
        ("help", "did you mean --help? "),
        ("version", "did you mean --version? "),
        ("x" * 100_000, ""),
        ("", ""),
    ],
)
def test_a_command_that_there_is_not(word: str, meant: str) -> None:
    what, fix = refused(word, *LISTEN)
    assert what.startswith(f"there is no command {word[:20]!r}"[:-1])
    assert len(what) < 200
    assert fix == f"{meant}fastrelay --help shows every flag and its default"


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


def test_no_listener_explains_the_two_ways() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "no listener was asked for" in done.stderr
    assert "fastrelay --insecure-listen 127.0.0.1:8080" in done.stderr
    assert "fastrelay probe ws://127.0.0.1:8080" in done.stderr
    assert "Traceback" not in done.stderr


# -- starting -------------------------------------------------------------------------------


async def test_starting_is_said_in_logfmt() -> None:
    async with running_command("--workers", "3") as command:
        listen = f"mode=insecure listen=127.0.0.1:{command.port} metrics=off push=off"
        listen += r' address_cap="\d+, loopback and private peers: none" workers=3'
        listen += r" max_connections=\d+"
        listen += r" max_message_bytes=262144 max_phones=16 max_held_bytes=\d+"
        listen += r" phone_send_buffer=262144 binary_send_buffer=1048576 grace=30.0"
        listen += r" upgrade_burst=20 upgrade_refill=6.0"
        assert re.fullmatch(
            rf"time=\S+Z level=INFO msg=starting version={__version__} {listen}\n",
            command.said,
        )


async def test_starting_is_said_in_json_with_the_metrics_served() -> None:
    metrics_port = free_port()
    metrics = f"127.0.0.1:{metrics_port}"
    async with running_command(
        "--workers", "1", "--log-format", "json", metrics=metrics
    ) as command:
        said: dict[str, Any] = json.loads(command.said)
        assert said.pop("time").endswith("Z")
        assert said.pop("max_connections")
        assert said.pop("max_held_bytes")
        assert said.pop("address_cap").endswith(", loopback and private peers: none")
        assert said == {
            "level": "INFO",
            "msg": "starting",
            "version": __version__,
            "mode": "insecure",
            "listen": f"127.0.0.1:{command.port}",
            "metrics": metrics,
            "push": "off",
            "workers": 1,
            "max_message_bytes": 262144,
            "max_phones": 16,
            "phone_send_buffer": 262144,
            "binary_send_buffer": 1048576,
            "grace": 30.0,
            "upgrade_burst": 20,
            "upgrade_refill": 6.0,
        }
        async with await open_http(metrics_port) as client:
            client.send(request("/metrics"))
            status, _, body = await client.response()
        assert status == 200
        assert b"pyrycode_relay_connected_binaries" in body


async def test_no_metrics_are_served_when_turned_off() -> None:
    async with running_command() as command:
        async with await open_http(command.port) as client:
            client.send(request("/metrics"))
            assert (await client.response())[0] == 404
            client.send(request("/healthz"))
            assert (await client.response())[0] == 200


async def test_a_rate_limit_that_is_off_is_said() -> None:
    async with running_command("--upgrade-burst", "0") as command:
        said = await command.next_line()
        assert "level=WARN msg=rate_limit_off" in said
        assert "--upgrade-burst 20" in said


# -- signals --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_says_goodbye_to_everybody(number: signal.Signals) -> None:
    async with running_command(metrics=f"127.0.0.1:{free_port()}") as command:
        async with await command.binary() as binary, await command.phone() as phone:
            command.process.send_signal(number)
            for peer in (binary, phone):
                assert await peer.closed() == (1001, "shutting down")
                assert await peer.at_eof()
        code, said = await command.end()
        assert code == 0
        events = re.findall(r'msg=("[^"]+"|\S+)', said)
        assert " msg=starting " in command.said
        assert events[0] == '"starting metrics listener"'
        assert events.count('"shutdown signal received; draining"') == 1
        assert events[-1] == '"shutdown complete"'
        assert "level=WARN" not in said
        assert "Traceback" not in said


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_drops_who_does_not_answer(second: signal.Signals) -> None:
    async with running_command() as command:
        async with await command.binary() as silent:
            command.process.send_signal(signal.SIGTERM)
            assert await silent.closed(answer=False) == (1001, "shutting down")
            command.process.send_signal(second)
            # Sooner than the 5 s a peer has for its close frame.
            code, said = await command.end(within=3.0)
            assert await silent.at_eof()
        assert code == 0
        assert "Traceback" not in said


async def test_sighup_without_certificates_changes_nothing() -> None:
    async with running_command() as command:
        command.process.send_signal(signal.SIGHUP)
        async with await command.binary() as binary:
            await binary.say_goodbye()
        command.process.send_signal(signal.SIGTERM)
        assert (await command.end())[0] == 0


async def test_nobody_connected_needs_no_drain() -> None:
    async with running_command() as command:
        command.process.send_signal(signal.SIGTERM)
        code, _ = await command.end(within=3.0)
        assert code == 0


# -- a listener that breaks -----------------------------------------------------------------

BREAKS_ITS_LISTENER = """\
import asyncio, signal, socket, sys
from fastrelay.cli import main
from fastrelay.net.listener import Listener
made = Listener.__init__
def make(self, sock, *rest):
    made(self, sock, *rest)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, sock.shutdown, socket.SHUT_RDWR)
Listener.__init__ = make
sys.exit(main())
"""


async def test_a_listener_that_breaks_ends_the_process_with_1_after_a_drain() -> None:
    async with running_command("--workers", "1", program=("-c", BREAKS_ITS_LISTENER)) as command:
        async with await command.binary() as binary:
            command.process.send_signal(signal.SIGUSR1)
            assert await binary.closed() == (1001, "shutting down")
            assert await binary.at_eof()
        code, said = await command.end()
    assert code == 1, said
    events = re.findall(r'msg=("[^"]+"|\S+)', said)
    assert events[:3] == ["server_claimed", "listener_failed", "draining"]
    assert events[-1] == '"shutdown complete"'
    assert "Traceback" not in said
