"""The shipped example of a daemon and of a phone, as processes, through a real relay."""

import asyncio
import json
import re
import runpy
import signal
import sys
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus, InvalidURI
from websockets.frames import Close
from websockets.http11 import Response

from tests.support.harness import running_relay

ROOT = Path(__file__).parents[2]
PYTHON = "    .venv/bin/python "
DAEMON = runpy.run_path(str(ROOT / "docs/examples/daemon.py"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands_of_the_readme(url: str) -> list[list[str]]:
    """The commands that try the relay, as arguments of Python, for a relay at this URL."""
    lines = [line for line in README.splitlines() if line.startswith(PYTHON)]
    return [line[len(PYTHON) :].replace("ws://127.0.0.1:8080", url).split() for line in lines]


async def started(script: str, *arguments: str, **pipes: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / script), *arguments), stdout=asyncio.subprocess.PIPE, **pipes
    )


async def test_a_phone_whose_daemon_is_away_says_so_in_a_line() -> None:
    async with running_relay() as relay, asyncio.timeout(30):
        _, send = commands_of_the_readme(f"ws://127.0.0.1:{relay.port}")
        phone = await started(*send, stderr=asyncio.subprocess.PIPE)
        _, said = await phone.communicate()
    assert phone.returncode == 1
    (line,) = said.decode().splitlines()
    assert line.startswith("no answer: ")
    assert "no server with that id" in line


async def test_the_commands_of_the_readme_send_a_message_and_print_the_answer() -> None:
    async with running_relay() as relay, asyncio.timeout(30):
        start_daemon, send = commands_of_the_readme(f"ws://127.0.0.1:{relay.port}")
        daemon = await started(*start_daemon)
        try:
            await relay.until(lambda: relay.log_of("server_claimed"))
            phone = await started(*send)
            said, _ = await phone.communicate()
            assert phone.returncode == 0
            assert json.loads(said) == {"echo": {"hello": "daemon"}}
            assert f"    {said.decode()}" in README
        finally:
            daemon.kill()
            await daemon.communicate()


async def test_a_daemon_ends_without_a_traceback() -> None:
    async with running_relay() as relay, asyncio.timeout(30):
        start_daemon, _ = commands_of_the_readme(f"ws://127.0.0.1:{relay.port}")
        daemon = await started(*start_daemon, stderr=asyncio.subprocess.PIPE)
        await relay.until(lambda: relay.log_of("server_claimed"))
        daemon.send_signal(signal.SIGINT)
        _, said = await daemon.communicate()
    assert (daemon.returncode, said) == (0, b"")


def rejected(status: int, **headers: str) -> InvalidStatus:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return InvalidStatus(Response(status, "", Headers(fields)))


def closed(code: int) -> ConnectionClosedError:
    return ConnectionClosedError(Close(code, ""), None)


@pytest.mark.parametrize(
    ("error", "least"),
    [
        (rejected(429, Retry_After="7"), 7),
        (rejected(503), 0),
        (closed(4409), 60),
        (closed(1001), 0),
        (ConnectionClosedError(None, None), 0),
        (ConnectionRefusedError(), 0),
    ],
    ids=repr,
)
def test_a_daemon_waits_as_the_page_for_clients_says(error: Exception, least: float) -> None:
    assert DAEMON["least_wait"](error) == least


@pytest.mark.parametrize("error", [rejected(400), rejected(421), InvalidURI("http://a", "no")])
def test_a_daemon_with_a_fault_does_not_try_again(error: Exception) -> None:
    with pytest.raises(SystemExit):
        DAEMON["least_wait"](error)


def test_the_daemon_knows_all_statuses_after_which_there_is_no_other_attempt() -> None:
    page = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
    final = [line for line in page.splitlines() if line.endswith("Do not try again |")]
    statuses = {int(number) for line in final for number in re.findall(r"\b\d{3}\b", line)}
    assert statuses == DAEMON["FINAL"]
