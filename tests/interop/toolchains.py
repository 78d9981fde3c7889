"""Client programs in several languages: how each is built and started."""

import fcntl
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.programs import skip_unless_ci

REPOSITORY = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
SLOWEST_BUILD = 170.0


class Toolchain(NamedTuple):
    """What makes programs out of a directory of ``clients/``.

    Attributes:
        directory: the sources' name; they are copied and built elsewhere.
        check: a command that succeeds where the toolchain can be used.
        install: what to do where it does not.
        steps: the commands of the build.
        in_debian: it can be had from Debian, so that CI has no excuse.
    """

    directory: str
    check: tuple[str, ...]
    install: str
    steps: tuple[tuple[str, ...], ...]
    in_debian: bool = True


class Client(NamedTuple):
    """A third-party client.

    Attributes:
        command: runs it, in the directory it was built in.
        toolchain: builds it; ``None`` for Python, which needs no build.
        fragments: whether its interface can send a message in fragments.
        pings: whether a ping can be had from it and the pong seen.
    """

    name: str
    command: tuple[str, ...]
    toolchain: Toolchain | None = None
    fragments: bool = True
    pings: bool = True


def made(client: Client, session: Path) -> Path:
    """The directory to run ``client`` in, built once however many processes ask.

    Skips the test without the toolchain; fails it in CI.
    """
    toolchain = client.toolchain
    if toolchain is None:
        return REPOSITORY
    build = session / f"client-{toolchain.directory}"
    _check(toolchain)
    with build.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = build / "done"
        if not done.exists():
            shutil.copytree(CLIENTS / toolchain.directory, build, dirs_exist_ok=True)
            for step in toolchain.steps:
                _run(step, build)
            done.touch()
    return build


def _check(toolchain: Toolchain) -> None:
    try:
        subprocess.run(toolchain.check, check=True, capture_output=True, timeout=20)
    except (FileNotFoundError, subprocess.CalledProcessError):
        missing = f"`{shlex.join(toolchain.check)}` fails: {toolchain.install}"
        if toolchain.in_debian:
            skip_unless_ci(missing)
        pytest.skip(missing)


def _run(step: tuple[str, ...], directory: Path) -> None:
    """Run one step; its output is shown if it fails."""
    done = subprocess.run(
        step,
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SLOWEST_BUILD,
    )
    assert done.returncode == 0, f"{step}: {done.stdout}"


def _python(name: str, module: str, *, fragments: bool = True) -> Client:
    command = (sys.executable, "-m", f"tests.interop.clients.{module}")
    return Client(name, command, fragments=fragments)


_NODE = Toolchain(
    "node",
    ("which", "node", "npm"),
    "apt-get install npm",
    (("npm", "ci", "--no-audit", "--no-fund"),),
)
_NODE_WITH_WEBSOCKET = _NODE._replace(
    check=("node", "--experimental-websocket", "--eval", "new WebSocket('ws://[::1]:9').close()"),
    install="Node 20.10 or newer",
    in_debian=False,
)
_GO = Toolchain(
    "go",
    ("which", "go"),
    "apt-get install golang-go",
    (("go", "build", "-o", "client", "."),),
)
_JAVA = Toolchain(
    "okhttp",
    ("which", "javac", "mvn"),
    "apt-get install maven default-jdk-headless",
    (
        ("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"),
        ("javac", "-cp", "lib/*", "-d", "classes", "Client.java"),
    ),
)

ALL = (
    _python("websockets", "websockets_client"),
    _python("aiohttp", "aiohttp_client", fragments=False),
    _python("websocket-client", "websocket_client"),
    _python("picows", "picows_client"),
    Client("ws", ("node", "ws.js"), _NODE),
    Client("undici", ("node", "undici.js"), _NODE, fragments=False, pings=False),
    Client(
        "node-websocket",
        ("node", "--experimental-websocket", "--no-warnings", "undici.js", "builtin"),
        _NODE_WITH_WEBSOCKET,
        fragments=False,
        pings=False,
    ),
    Client("coder-websocket", ("./client",), _GO),
    Client(
        "okhttp",
        ("java", "-XX:TieredStopAtLevel=1", "-cp", "classes:lib/*", "Client"),
        _JAVA,
        fragments=False,
    ),
)
