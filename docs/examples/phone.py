"""A phone that sends one frame and prints the answer. Nothing is encrypted: see clients.md."""

import argparse
import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException


async def main(url: str, server_id: str) -> None:
    headers = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Token": "none"}
    try:
        async with connect(f"{url}/v1/client", additional_headers=headers) as relay:
            await relay.send(json.dumps({"hello": "daemon"}))
            print(await relay.recv())
    except (OSError, WebSocketException) as error:
        sys.exit(f"no answer: {error}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:8080")
    parser.add_argument("server_id", nargs="?", default="my-laptop")
    asyncio.run(main(**vars(parser.parse_args())))
