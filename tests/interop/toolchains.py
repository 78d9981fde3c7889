"""Client programs in several languages: how each is built and started."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

CLIENTS = Path(__file__).parent / "clients"


class Client(NamedTuple):
    """A third-party client.

    Attributes:
        command: makes the program in a directory of the session's, and says how to run it.
        fragments: whether its interface can send a message in fragments.
    """

    name: str
    command: Callable[[Path], list[str]]
    fragments: bool = True


def _python(module: str) -> Callable[[Path], list[str]]:
    return lambda build: [sys.executable, "-m", f"tests.interop.clients.{module}"]


def _node(build: Path) -> list[str]:
    _toolchain("npm", "apt-get install npm", required=True)
    shutil.copytree(CLIENTS / "ws", build, dirs_exist_ok=True)
    _run(build, "npm", "ci", "--no-audit", "--no-fund")
    return ["node", str(build / "client.js")]


def _go(build: Path) -> list[str]:
    _toolchain("go", "install Go 1.23 or newer", required=False)
    _run(CLIENTS / "go", "go", "build", "-o", str(build / "client"), ".")
    return [str(build / "client")]


def _toolchain(program: str, how: str, *, required: bool) -> None:
    """Skip without ``program``; in CI fail, where it is ``required``."""
    if shutil.which(program) is None:
        missing = f"{program} is not installed: {how}"
        if required and os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)


def _run(directory: Path, *command: str) -> None:
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=170)


def made(client: Client, session: Path) -> list[str]:
    """The command that runs ``client``, built once however many processes ask."""
    build = session / f"client-{client.name}"
    build.mkdir(exist_ok=True)
    with (session / f"{build.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return client.command(build)


ALL = (
    Client("websockets", _python("websockets_client")),
    Client("aiohttp", _python("aiohttp_client"), fragments=False),
    Client("websocket-client", _python("websocket_client")),
    Client("picows", _python("picows_client")),
    Client("ws", _node),
    Client("coder-websocket", _go),
)
