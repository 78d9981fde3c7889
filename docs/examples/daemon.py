"""A daemon that answers every frame. Nothing is authenticated or encrypted: see clients.md."""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

FINAL = {400, 404, 405, 421, 426, 431}
"""Statuses after which a client does not try again, because it has a fault."""


async def serve(url: str, server_id: str) -> None:
    headers = {"X-Pyrycode-Server": server_id, "X-Pyrycode-Version": "1"}
    async with connect(f"{url}/v1/server", additional_headers=headers) as relay:
        async for message in relay:
            envelope = json.loads(message)
            if "frame" in envelope:  # a close notice has none
                answer = {"conn_id": envelope["conn_id"], "frame": {"echo": envelope["frame"]}}
                await relay.send(json.dumps(answer))


def least_wait(error: Exception) -> float:
    """The seconds until the next attempt at the earliest. Ends the program if there is none."""
    if isinstance(error, InvalidURI):
        sys.exit(1)
    if isinstance(error, InvalidStatus):
        if error.response.status_code in FINAL:
            sys.exit(1)
        return float(error.response.headers.get("Retry-After", 0))
    if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code == 4409:
        return 60  # another daemon has the server-id, perhaps an old connection of this one
    return 0


async def main(url: str, server_id: str) -> None:
    failures = 0
    while True:
        started = time.monotonic()
        least = 0.0
        try:
            await serve(url, server_id)
        except (OSError, WebSocketException) as error:
            print(error, file=sys.stderr)
            least = least_wait(error)
        failures = 0 if time.monotonic() - started > 60 else failures + 1
        await asyncio.sleep(least + random.uniform(0, min(60, 2**failures)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:8080")
    parser.add_argument("server_id", nargs="?", default="my-laptop")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(**vars(parser.parse_args())))
