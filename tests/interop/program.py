"""A client program, told what to do line by line; see ``clients/driver.py``."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.interop.toolchains import Client

_LONGEST_LINE = 4 * 1024 * 1024
_TIMEOUT = 60.0


class Closed(Exception):
    """The relay closed the connection, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class Refused(Exception):
    """The upgrade was answered with this HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Program:
    """A running client program, and the relay and server-id it is sent to."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, server_id: str) -> None:
        self._process = process
        self._url = url
        self._server_id = server_id
        self._names = map(str, itertools.count())

    async def binary(self) -> "Connection":
        """A connection to ``/v1/server``."""
        return await self.connect("/v1/server", {"X-Pyrycode-Version": "1"})

    async def phone(self) -> "Connection":
        """A connection to ``/v1/client``."""
        return await self.connect("/v1/client", {"X-Pyrycode-Token": "t"})

    async def connect(self, path: str, headers: dict[str, str]) -> "Connection":
        """Any connection, with these headers beside the server-id and a User-Agent."""
        name = next(self._names)
        headers = {"User-Agent": "interop/1", "X-Pyrycode-Server": self._server_id, **headers}
        await self.ask({"op": "connect", "as": name, "url": self._url + path, "headers": headers})
        return Connection(self, name)

    async def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Give one command; returns its answer.

        Raises:
            Closed, Refused: that was the answer.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        async with asyncio.timeout(_TIMEOUT):
            line = await self._process.stdout.readline()
        assert line, "the client program has ended"
        answer: dict[str, Any] = json.loads(line)
        if "status" in answer:
            raise Refused(answer["status"])
        if "closed" in answer and command["op"] != "close":
            raise Closed(*answer["closed"])
        return answer


class Connection:
    """One WebSocket of a client program."""

    def __init__(self, program: Program, name: str) -> None:
        self._program = program
        self._name = name

    async def _ask(self, op: str, **more: Any) -> dict[str, Any]:
        return await self._program.ask({"op": op, "on": self._name, **more})

    async def send(self, text: str) -> None:
        await self._ask("send", text=text)

    async def fragments(self, *parts: str) -> None:
        await self._ask("fragments", parts=parts)

    async def text(self) -> str:
        return str((await self._ask("receive"))["text"])

    async def json(self) -> Any:
        return json.loads(await self.text())

    async def ping(self) -> None:
        await self._ask("ping")

    async def close(self, code: int = 1000) -> int:
        """Close from this side; returns the code the relay answered with."""
        return int((await self._ask("close", code=code))["closed"][0])

    async def closed(self) -> tuple[int, str]:
        """Wait until the relay closes; returns its code and reason."""
        try:
            raise AssertionError(f"not closed, but got {await self.text()!r}")
        except Closed as closed:
            return closed.code, closed.reason


@contextlib.asynccontextmanager
async def program(
    client: Client, build: Path, port: int, server_id: str, host: str = "127.0.0.1"
) -> AsyncIterator[Program]:
    """Start a client program, made in ``build``, against the relay at ``port`` of ``host``."""
    process = await asyncio.create_subprocess_exec(
        *client.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=build,
        limit=_LONGEST_LINE,
    )
    try:
        yield Program(process, f"ws://{host}:{port}", server_id)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
