"""A daemon that answers every frame. Nothing is authenticated or encrypted: see clients.md."""

import asyncio
import json
import random
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException


async def serve(url: str, server_id: str) -> None:
    headers = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Version": "1"}
    async with connect(f"{url}/v1/server", additional_headers=headers) as relay:
        async for message in relay:
            envelope = json.loads(message)
            if "frame" in envelope:  # a close notice has none
                answer = {"conn_id": envelope["conn_id"], "frame": {"echo": envelope["frame"]}}
                await relay.send(json.dumps(answer))


async def main(url: str, server_id: str) -> None:
    failures = 0
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await serve(url, server_id)
        except (OSError, WebSocketException) as error:
            print(error, file=sys.stderr)
        lasted = asyncio.get_running_loop().time() - started
        failures = 0 if lasted > 60 else failures + 1
        await asyncio.sleep(random.uniform(0, min(60, 2**failures)))


if __name__ == "__main__":
    arguments = sys.argv[1:] or ["ws://127.0.0.1:8080", "my-laptop"]
    asyncio.run(main(*arguments))
