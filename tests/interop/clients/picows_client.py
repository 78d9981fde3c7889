"""The client of `picows`."""

import asyncio

import picows

from tests.interop.clients.driver import Over, Refused, main


class Socket(picows.WSListener):
    def __init__(self) -> None:
        self._incoming: asyncio.Queue[str | tuple[int, str]] = asyncio.Queue()
        self._parts: list[bytes] = []

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.CLOSE:
            code, reason = frame.get_close_code(), frame.get_close_message() or b""
            self._incoming.put_nowait((int(code or 0), reason.decode()))
            transport.send_close(code, reason)
            transport.disconnect()
        elif frame.msg_type == picows.WSMsgType.TEXT:
            self._incoming.put_nowait(frame.get_payload_as_utf8_text())

    async def send(self, text: str) -> None:
        self._transport.send(picows.WSMsgType.TEXT, text.encode())

    async def fragments(self, parts: list[str]) -> None:
        for number, part in enumerate(parts):
            kind = picows.WSMsgType.CONTINUATION if number else picows.WSMsgType.TEXT
            self._transport.send(kind, part.encode(), fin=number == len(parts) - 1)

    async def receive(self) -> str:
        item = await self._incoming.get()
        if isinstance(item, str):
            return item
        raise Over(*item)

    async def ping(self) -> None:
        await self._transport.measure_roundtrip_time(1)

    async def close(self, code: int) -> tuple[int, str]:
        self._transport.send_close(code)
        while True:
            try:
                await self.receive()
            except Over as over:
                return over.code, over.reason


async def dial(url: str, headers: dict[str, str]) -> Socket:
    try:
        _, socket = await picows.ws_connect(
            Socket, url, extra_headers=headers, enable_auto_pong=True
        )
    except picows.WSInvalidStatusError as refused:
        raise Refused(int(refused.response.status)) from None
    assert isinstance(socket, Socket)
    return socket


main(dial)
