"""A relay as one would write it with `websockets`: a JSON round trip a frame."""

import json
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, serve

binaries: dict[str, ServerConnection] = {}
phones: dict[str, ServerConnection] = {}


async def handle(connection: ServerConnection) -> None:
    assert connection.request is not None
    server_id = connection.request.headers["X-Pyrycode-Server"]
    if connection.request.path == "/v1/server":
        binaries[server_id] = connection
        async for message in connection:
            envelope = json.loads(message)
            await phones[envelope["conn_id"]].send(json.dumps(envelope["frame"]))
    else:
        conn_id = f"client-{server_id}-{connection.id.hex[:8]}"
        phones[conn_id] = connection
        async for message in connection:
            frame = json.loads(message)
            await binaries[server_id].send(json.dumps({"conn_id": conn_id, "frame": frame}))


async def main(port: int) -> None:
    async with serve(handle, "127.0.0.1", port, compression=None, max_size=2**20) as server:
        await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
