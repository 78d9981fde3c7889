"""What every Python client program shares: it does what lines of JSON on stdin say.

    {"op": "connect", "as": "p1", "url": "ws://…", "headers": {…}}
    {"op": "send", "on": "p1", "text": "…"}        {"op": "fragments", "on": "p1", "parts": […]}
    {"op": "receive", "on": "p1"}                  {"op": "ping", "on": "p1"}
    {"op": "close", "on": "p1", "code": 4001}

and answers each with one line: ``{}``, ``{"text": …}``, ``{"status": 400}`` for a refused upgrade,
or ``{"closed": [code, reason]}`` when the connection is over. The programs in other languages
speak the same.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Protocol


class Refused(Exception):
    """The upgrade was answered with this status."""

    def __init__(self, status: int) -> None:
        self.status = status


class Over(Exception):
    """The connection has been closed: code and reason as the client reports them."""

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason


class Socket(Protocol):
    """One connection, in the words of one library."""

    async def send(self, text: str) -> None: ...
    async def fragments(self, parts: list[str]) -> None: ...
    async def receive(self) -> str: ...
    async def ping(self) -> None: ...
    async def close(self, code: int) -> tuple[int, str]: ...


Connect = Callable[[str, dict[str, str]], Awaitable[Socket]]


def main(connect: Connect) -> None:
    """Run until stdin ends."""
    asyncio.run(_run(connect))


async def _run(connect: Connect) -> None:
    sockets: dict[str, Socket] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            answer = await _do(json.loads(line), sockets, connect)
        except Refused as refused:
            answer = {"status": refused.status}
        except Over as over:
            answer = {"closed": [over.code, over.reason]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


async def _do(command: dict[str, Any], sockets: dict[str, Socket], connect: Connect) -> Any:
    if command["op"] == "connect":
        sockets[command["as"]] = await connect(command["url"], command["headers"])
        return {}
    socket = sockets[command["on"]]
    match command["op"]:
        case "send":
            await socket.send(command["text"])
        case "fragments":
            await socket.fragments(command["parts"])
        case "receive":
            return {"text": await socket.receive()}
        case "ping":
            await socket.ping()
        case "close":
            return {"closed": await socket.close(command["code"])}
    return {}
