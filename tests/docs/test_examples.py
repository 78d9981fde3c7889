"""The shipped example of a daemon and of a phone, as processes, through a real relay."""

import asyncio
import json
import sys
from pathlib import Path

from tests.support.harness import running_relay

ROOT = Path(__file__).parents[2]
PYTHON = "    .venv/bin/python "
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
