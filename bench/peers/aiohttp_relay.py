"""A relay as one would write it with `aiohttp`: a JSON round trip a frame."""

import asyncio
import json
import os
import sys

import uvloop
from aiohttp import WSMessage, WSMsgType, web

binaries: dict[str, web.WebSocketResponse] = {}
phones: dict[str, web.WebSocketResponse] = {}


async def open_socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False, max_msg_size=2**20)
    await socket.prepare(request)
    return socket


def is_text(message: WSMessage) -> bool:
    return message.type is WSMsgType.TEXT


async def handle_binary(request: web.Request) -> web.WebSocketResponse:
    socket = binaries[request.headers["X-Pyrycode-Server"]] = await open_socket(request)
    async for message in socket:
        if is_text(message):
            envelope = json.loads(message.data)
            await phones[envelope["conn_id"]].send_str(json.dumps(envelope["frame"]))
    return socket


async def handle_phone(request: web.Request) -> web.WebSocketResponse:
    server_id = request.headers["X-Pyrycode-Server"]
    conn_id = f"client-{server_id}-{os.urandom(4).hex()}"
    socket = phones[conn_id] = await open_socket(request)
    async for message in socket:
        if is_text(message):
            frame = json.loads(message.data)
            await binaries[server_id].send_str(json.dumps({"conn_id": conn_id, "frame": frame}))
    return socket


async def main(port: int) -> None:
    app = web.Application()
    app.router.add_get("/v1/server", handle_binary)
    app.router.add_get("/v1/client", handle_phone)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1])))
