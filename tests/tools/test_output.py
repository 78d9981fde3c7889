"""Where the tools' output cannot be written: an exit code, at most a line, and no traceback."""

import asyncio
import os
import subprocess
import sys

import pytest

from bench.support.ports import free_port
from tests.support.harness import running_relay

NOTHING_THERE = "fastrelay {}: cannot write to stdout: No space left on device"


async def into(stdout: str, *arguments: str) -> tuple[int | None, str]:
    """The exit code and stderr of the command with its stdout at a file."""
    descriptor = os.open(stdout, os.O_WRONLY)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fastrelay", *arguments),
            stdout=descriptor,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(descriptor)
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def test_the_probe_exits_by_its_result() -> None:
    async with running_relay() as relay:
        for arguments in ((), ("--json",)):
            code, errors = await into("/dev/full", "probe", relay.url, *arguments)
            assert code == 0
            (line,) = errors.splitlines()
            assert line.startswith(NOTHING_THERE.format("probe"))
    code, errors = await into("/dev/full", "probe", f"ws://127.0.0.1:{free_port()}")
    assert code == 1
    assert errors.startswith(NOTHING_THERE.format("probe"))
    assert errors.count("\n") == 1


async def test_a_monitor_that_cannot_tell_ends() -> None:
    url = f"ws://127.0.0.1:{free_port()}"
    code, errors = await into("/dev/full", "probe", url, "--interval", "24")
    assert code == 1
    assert errors.startswith(NOTHING_THERE.format("probe"))
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "program"),
    [
        (("probe", "--help"), "fastrelay probe"),
        (("top", "--help"), "fastrelay top"),
        (("files", "--help"), "fastrelay files"),
        (("--help",), "fastrelay"),
        (("--version",), "fastrelay"),
    ],
)
async def test_help_that_cannot_be_printed(arguments: tuple[str, ...], program: str) -> None:
    code, errors = await into("/dev/full", *arguments)
    assert code == 1
    (line,) = errors.splitlines()
    assert line.startswith(f"{program}: cannot write to stdout: No space left on device")


async def test_a_list_of_files_that_cannot_be_printed(tmp_path: object) -> None:
    code, errors = await into("/dev/full", "files", str(tmp_path))
    assert code == 1
    assert errors.startswith(NOTHING_THERE.format("files"))
    assert errors.count("\n") == 1
