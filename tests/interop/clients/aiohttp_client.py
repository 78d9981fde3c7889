"""The client of `aiohttp`."""

import asyncio

import aiohttp

from tests.interop.clients.driver import Over, Refused, main


class Socket:
    """Read all the time; answers pings itself, since otherwise the library shows no pong."""

    def __init__(
        self, session: aiohttp.ClientSession, websocket: aiohttp.ClientWebSocketResponse
    ) -> None:
        self._session = session
        self._websocket = websocket
        self._incoming: asyncio.Queue[aiohttp.WSMessage] = asyncio.Queue()
        self._pongs: asyncio.Queue[bytes] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            message = await self._websocket.receive()
            match message.type:
                case aiohttp.WSMsgType.PING:
                    await self._websocket.pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    self._pongs.put_nowait(message.data)
                case kind:
                    self._incoming.put_nowait(message)
                    if kind is not aiohttp.WSMsgType.TEXT:
                        return

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
        await self._websocket.ping(b"are you there")
        assert await self._pongs.get() == b"are you there"

    async def close(self, code: int) -> tuple[int, str]:
        await self._websocket.close(code=code)
        await self._session.close()
        return self._websocket.close_code or 0, ""


async def dial(url: str, headers: dict[str, str]) -> Socket:
    session = aiohttp.ClientSession(skip_auto_headers=("User-Agent",))
    try:
        return Socket(session, await session.ws_connect(url, headers=headers, autoping=False))
    except aiohttp.WSServerHandshakeError as refused:
        await session.close()
        raise Refused(refused.status) from None


main(dial)
