"""A listening socket whose accept fails: out of something for a while, or for good."""

import asyncio
import errno
import socket

import pytest

from fastrelay.log import Log
from fastrelay.net import listener as listening
from fastrelay.net.listener import Listener
from tests.support.newcomers import unhurried
from tests.support.peer import HttpClient


class Failing(socket.socket):
    """Accepts again after so many failures."""

    failures: list[int]

    def _accept(self) -> tuple[int, object]:
        if self.failures:
            raise OSError(self.failures.pop(), "as the test wants it")
        return super()._accept()


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")
        transport.close()


class Scene:
    """A listener on such a socket."""

    def __init__(self, failures: list[int]) -> None:
        sock = Failing()
        sock.failures = failures
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        self.lines: list[str] = []
        self.broken = 0
        loop = asyncio.get_running_loop()
        log = Log(self.lines.append)
        self.listener = Listener(
            sock, lambda client, sock: Greeting(), loop, log, unhurried(loop.call_soon), self._break
        )

    def _break(self) -> None:
        self.broken += 1

    async def dial(self) -> HttpClient:
        return HttpClient(*await asyncio.open_connection("127.0.0.1", self.listener.port))


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_it_accepts_again_when_there_is_something_left(
    error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_RETRY", 0.01)
    scene = Scene([error, error])
    async with await scene.dial() as client:
        assert await client.reader.read() == b"hello"
    assert len([line for line in scene.lines if "msg=accept_paused" in line]) == 2  # one a try
    assert scene.broken == 0
    scene.listener.close()


async def test_it_may_be_closed_while_it_waits() -> None:
    scene = Scene([errno.EMFILE])
    async with await scene.dial() as client:
        async with asyncio.timeout(40):
            while not scene.lines:
                await asyncio.sleep(0.001)
        scene.listener.close()
        assert await client.at_eof()


async def test_a_peer_that_has_left_again_is_nobodys_error() -> None:
    scene = Scene([errno.ECONNABORTED])
    async with await scene.dial() as client:
        assert await client.reader.read() == b"hello"
    assert not scene.lines
    scene.listener.close()


@pytest.mark.parametrize("error", [errno.EBADF, errno.EINVAL, errno.ENOTSOCK])
async def test_a_socket_that_is_none_any_more_is_the_end(error: int) -> None:
    scene = Scene([error])
    async with await scene.dial():
        async with asyncio.timeout(40):
            while not scene.broken:
                await asyncio.sleep(0.001)
    assert len([line for line in scene.lines if "msg=listener_failed" in line]) == 1
    assert scene.broken == 1
    scene.listener._sock.close()
