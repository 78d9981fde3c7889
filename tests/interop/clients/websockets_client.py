"""The client of `websockets`."""

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.interop.clients.driver import Over, Refused, main


class Socket:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, text: str) -> None:
        await self._connection.send(text)

    async def fragments(self, parts: list[str]) -> None:
        await self._connection.send(iter(parts))

    async def receive(self) -> str:
        try:
            message = await self._connection.recv()
        except ConnectionClosed:
            raise Over(*self._over()) from None
        assert isinstance(message, str)
        return message

    async def ping(self) -> None:
        await (await self._connection.ping())

    async def close(self, code: int) -> tuple[int, str]:
        await self._connection.close(code)
        return self._over()

    def _over(self) -> tuple[int, str]:
        return self._connection.close_code or 0, self._connection.close_reason or ""


async def dial(url: str, headers: dict[str, str]) -> Socket:
    agent = headers.pop("User-Agent", None)
    try:
        return Socket(
            await connect(url, additional_headers=headers, user_agent_header=agent, open_timeout=20)
        )
    except websockets.exceptions.InvalidStatus as refused:
        raise Refused(refused.response.status_code) from None


main(dial)
