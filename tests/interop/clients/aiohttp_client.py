"""The client of `aiohttp`."""

import asyncio

import aiohttp

from tests.interop.clients.driver import Over, Refused, main


class Socket:
    """Read all the time, since the library answers pings by reading."""

    def __init__(
        self, session: aiohttp.ClientSession, websocket: aiohttp.ClientWebSocketResponse
    ) -> None:
        self._session = session
        self._websocket = websocket
        self._incoming: asyncio.Queue[aiohttp.WSMessage] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        message = await self._websocket.receive()
        while message.type is aiohttp.WSMsgType.TEXT:
            self._incoming.put_nowait(message)
            message = await self._websocket.receive()
        self._incoming.put_nowait(message)

    async def send(self, text: str) -> None:
        await self._websocket.send_str(text)

    async def fragments(self, parts: list[str]) -> None:
        raise NotImplementedError  # it cannot

    async def receive(self) -> str:
        message = await self._incoming.get()
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data)
        await self._session.close()
        raise Over(self._websocket.close_code or 0, message.extra or "")

    async def ping(self) -> None:
        await self._websocket.ping(b"are you there")  # it tells nobody of the pong

    async def close(self, code: int) -> tuple[int, str]:
        await self._websocket.close(code=code)
        await self._session.close()
        return self._websocket.close_code or 0, ""


async def dial(url: str, headers: dict[str, str]) -> Socket:
    session = aiohttp.ClientSession(skip_auto_headers=("User-Agent",))
    try:
        return Socket(session, await session.ws_connect(url, headers=headers))
    except aiohttp.WSServerHandshakeError as refused:
        await session.close()
        raise Refused(refused.status) from None


main(dial)
