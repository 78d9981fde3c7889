"""The client of `websocket-client`: blocking, so each call runs in a thread."""

import asyncio
import struct

import websocket

from tests.interop.clients.driver import Over, Refused, main


class Socket:
    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection

    async def send(self, text: str) -> None:
        await asyncio.to_thread(self._connection.send_text, text)

    async def fragments(self, parts: list[str]) -> None:
        for number, part in enumerate(parts):
            opcode = websocket.ABNF.OPCODE_CONT if number else websocket.ABNF.OPCODE_TEXT
            last = int(number == len(parts) - 1)
            frame = websocket.ABNF.create_frame(part.encode(), opcode, last)
            await asyncio.to_thread(self._connection.send_frame, frame)

    async def receive(self) -> str:
        return await asyncio.to_thread(self._receive)

    def _receive(self) -> str:
        while True:
            opcode, data = self._connection.recv_data(control_frame=True)
            if opcode == websocket.ABNF.OPCODE_TEXT:
                return str(data.decode())
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                raise Over(*_read_close(data))

    async def ping(self) -> None:
        await asyncio.to_thread(self._ping)

    def _ping(self) -> None:
        self._connection.ping(b"are you there")
        while self._connection.recv_data(control_frame=True)[0] != websocket.ABNF.OPCODE_PONG:
            pass  # a ping of the relay's, which the library has answered

    async def close(self, code: int) -> tuple[int, str]:
        return await asyncio.to_thread(self._close, code)

    def _close(self, code: int) -> tuple[int, str]:
        self._connection.send_close(code)
        try:
            while True:
                self._receive()
        except Over as over:
            self._connection.shutdown()
            return over.code, over.reason


def _read_close(data: bytes) -> tuple[int, str]:
    return struct.unpack("!H", data[:2])[0], data[2:].decode()


async def dial(url: str, headers: dict[str, str]) -> Socket:
    try:
        connection = await asyncio.to_thread(
            websocket.create_connection, url, header=headers, timeout=20
        )
    except websocket.WebSocketBadStatusException as refused:
        raise Refused(refused.status_code) from None
    return Socket(connection)


main(dial)
