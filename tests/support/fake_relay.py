"""A relay written in a few lines, for tests of the probe: right, or wrong in one chosen way."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response


class FakeRelay:
    """As much of the protocol as the probe sees. Each method is there for a test to break."""

    def __init__(self) -> None:
        self.binaries: dict[str, ServerConnection] = {}
        self.phones: dict[str, ServerConnection] = {}
        self.directed: set[str] = set()
        self.tokens: list[str] = []
        self.agents: set[str] = set()

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """The response to a request, or ``None`` to upgrade it."""
        self.agents.add(request.headers["User-Agent"])
        return self.healthz(connection) if request.path == "/healthz" else None

    def healthz(self, connection: ServerConnection) -> Response:
        return connection.respond(HTTPStatus.OK, '{"status":"ok","version":"0"}')

    async def live(self, connection: ServerConnection) -> None:
        """One connection after its 101."""
        assert connection.request is not None
        headers = connection.request.headers
        server_id = headers["X-Pyrycode-Server"]
        if connection.request.path == "/v1/server":
            self.binaries[server_id] = connection
            await self.binary(connection)
        elif server_id not in self.binaries:
            await self.refuse(connection)
        else:
            self.tokens.append(headers["X-Pyrycode-Token"])
            conn_id = f"client-{server_id}-0000000{len(self.phones)}"
            self.phones[conn_id] = connection
            await self.phone(connection, conn_id, self.binaries[server_id])

    async def refuse(self, phone: ServerConnection) -> None:
        await phone.close(4404, "no server with that id")

    async def phone(self, phone: ServerConnection, conn_id: str, binary: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in phone:
                await self.up(binary, conn_id, str(message))
        await self.gone(binary, conn_id, phone.close_code or 1001)

    async def up(self, binary: ServerConnection, conn_id: str, message: str) -> None:
        await binary.send(f'{{"conn_id":"{conn_id}","frame":{message}}}')

    async def gone(self, binary: ServerConnection, conn_id: str, code: int) -> None:
        if conn_id not in self.directed:
            await self.notice(binary, conn_id, code)

    async def notice(self, binary: ServerConnection, conn_id: str, code: int) -> None:
        await binary.send(f'{{"conn_id":"{conn_id}","close_code":{code}}}')

    async def binary(self, binary: ServerConnection) -> None:
        async for message in binary:
            envelope = json.loads(message)
            phone = self.phones[envelope["conn_id"]]
            frame = str(message).partition('"frame":')[2].removesuffix("}")
            if "close_code" not in envelope:
                await self.down(phone, frame)
            else:
                self.directed.add(envelope["conn_id"])
                await self.down(phone, frame.partition(",")[0])
                await self.direct(phone, envelope["close_code"])

    async def down(self, phone: ServerConnection, frame: str) -> None:
        await phone.send(frame)

    async def direct(self, phone: ServerConnection, code: int) -> None:
        await phone.close(code)


@asynccontextmanager
async def served(fake: FakeRelay, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a fake relay."""

    async def live(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):  # a probe that found what is wrong leaves at once
            await fake.live(connection)

    server = await serve(
        live,
        "127.0.0.1",
        0,
        ssl=tls,
        process_request=fake.answer,
        compression=None,
        close_timeout=0.1,
        ping_interval=None,
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


# -- relays that are wrong in one way -------------------------------------------------------


class NoHealthz(FakeRelay):
    def healthz(self, connection: ServerConnection) -> Response:
        return connection.respond(HTTPStatus.NOT_FOUND, "")


class Unhealthy(FakeRelay):
    def healthz(self, connection: ServerConnection) -> Response:
        return connection.respond(HTTPStatus.OK, '{"status":"sick"}')


class HealthzIsNoJson(FakeRelay):
    def healthz(self, connection: ServerConnection) -> Response:
        return connection.respond(HTTPStatus.OK, "[" * 60_000)


class RateLimits(FakeRelay):
    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        response = super().answer(connection, request)
        if response is None:
            response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "")
            response.headers["Retry-After"] = "7"
        return response


class RefusesUpgrades(FakeRelay):
    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        response = super().answer(connection, request)
        return response or connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "")


class LosesPhones(FakeRelay):
    async def phone(self, phone: ServerConnection, conn_id: str, binary: ServerConnection) -> None:
        await phone.recv()
        await self.refuse(phone)


class EchoesTheToken(FakeRelay):
    async def up(self, binary: ServerConnection, conn_id: str, message: str) -> None:
        await binary.send(json.dumps({"token": self.tokens[-1]}))


class OtherConnIds(FakeRelay):
    async def up(self, binary: ServerConnection, conn_id: str, message: str) -> None:
        await super().up(binary, "phone-1", message)


class Rewrites(FakeRelay):
    async def up(self, binary: ServerConnection, conn_id: str, message: str) -> None:
        await super().up(binary, conn_id, json.dumps(json.loads(message)))


class ShortensLargeFrames(FakeRelay):
    async def down(self, phone: ServerConnection, frame: str) -> None:
        await phone.send(frame[:65536])


class SendsBinaryFrames(FakeRelay):
    async def down(self, phone: ServerConnection, frame: str) -> None:
        await phone.send(frame.encode())


class ForgetsOneFrame(FakeRelay):
    seen = 0

    async def up(self, binary: ServerConnection, conn_id: str, message: str) -> None:
        self.seen += 1
        if self.seen != 20:
            await super().up(binary, conn_id, message)


class NotUnderstoodAsFrames(FakeRelay):
    async def down(self, phone: ServerConnection, frame: str) -> None:
        phone.transport.write(b"\xf1\x00")


class WrongDirectedCode(FakeRelay):
    async def direct(self, phone: ServerConnection, code: int) -> None:
        await phone.close(1000)


class NoDirectedCode(FakeRelay):
    async def direct(self, phone: ServerConnection, code: int) -> None:
        phone.transport.abort()


class IgnoresDirectives(FakeRelay):
    async def direct(self, phone: ServerConnection, code: int) -> None:
        """Leave the phone alone."""


class NoticeOfEveryClose(FakeRelay):
    async def gone(self, binary: ServerConnection, conn_id: str, code: int) -> None:
        await self.notice(binary, conn_id, code)


class NoNotice(FakeRelay):
    async def notice(self, binary: ServerConnection, conn_id: str, code: int) -> None:
        """Say nothing."""


class WrongNotice(FakeRelay):
    async def notice(self, binary: ServerConnection, conn_id: str, code: int) -> None:
        await super().notice(binary, conn_id, 1001)


class TwoNotices(FakeRelay):
    async def notice(self, binary: ServerConnection, conn_id: str, code: int) -> None:
        await super().notice(binary, conn_id, code)
        await super().notice(binary, conn_id, code)


class WrongRefusal(FakeRelay):
    async def refuse(self, phone: ServerConnection) -> None:
        await phone.close(4404, "go away")


class NoRefusal(FakeRelay):
    async def refuse(self, phone: ServerConnection) -> None:
        await phone.wait_closed()
