"""Run in a sealed machine, behind a proxy: how many frames for a client are ahead of its pong.

    python -m tests.support.behind_proxy PROXY PORT CA [CERTIFICATE KEY]

PROXY is the command of the proxy. The relay serves at PORT: plain HTTP, or with a certificate TLS
behind a PROXY header.
"""

import asyncio
import contextlib
import ipaddress
import shlex
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastrelay.config.settings import Address, TlsFiles
from tests.support.harness import running_relay
from tests.support.peer import PING, PONG, Peer, client_frame, open_peer

HOST = "relay.example.org"
HEADERS = {
    "Host": HOST,
    "X-Pyrycode-Server": "s1",
    "X-Pyrycode-Version": "1",
    "X-Pyrycode-Token": "t",
}
FRAMES = 38
FRAME = b'"' + b"f" * 100_000 + b'"'


async def join(path: str, ca: str) -> Peer:
    """A peer of the proxy."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (HOST, 443))
    tls = ssl.create_default_context(cafile=ca)
    return await open_peer(443, path, HEADERS, host=HOST, sock=sock, tls=tls)


@contextlib.asynccontextmanager
async def running(command: str) -> AsyncIterator[None]:
    """A proxy that accepts connections."""
    process = await asyncio.create_subprocess_exec(*shlex.split(command))
    try:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    _, writer = await asyncio.open_connection(HOST, 443)
                    writer.close()
                    break
                await asyncio.sleep(0.01)
        yield
    finally:
        process.kill()
        await process.wait()


async def main(proxy: str, port: str, ca: str, certificate: str = "", key: str = "") -> None:
    """Print the number."""
    settings: dict[str, Any] = {"listen": Address("127.0.0.1", int(port))}
    if certificate:
        settings["tls"] = TlsFiles(certificate=Path(certificate), key=Path(key))
        settings["proxy_headers"] = (ipaddress.ip_network("127.0.0.0/8"),)
    async with running_relay(**settings) as relay, running(proxy):
        binary = relay.own(await join("/v1/server", ca))
        phone = relay.own(await join("/v1/client", ca))
        phone.send_text("0")
        conn_id = (await binary.json())["conn_id"].encode()
        phone.stop_reading()
        for _ in range(FRAMES):
            binary.send_text(b'{"conn_id":"%b","frame":%b}' % (conn_id, FRAME))
        down = {"direction": "binary_to_phone"}
        await relay.until(lambda: relay.value("frames_received_total", **down) == FRAMES)
        phone.send(client_frame(b"now", PING) + client_frame(b"1"))
        assert (await binary.json())["frame"] == 1  # so the ping has come as well
        phone.read_on()
        before = 0
        while (await phone.frame()).opcode != PONG:
            before += 1
        print(f"{before} frames before the pong")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
