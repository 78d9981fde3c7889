"""A relay on `picows`, the fastest WebSocket transport for Python there is, with our envelope code.

Its transport is Cython; one write a frame.
"""

import os
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from fastrelay.protocol.envelope import check_frame, phone_prefix, unwrap

binaries: dict[str, WSTransport] = {}
phones: dict[str, WSTransport] = {}


class Binary(WSListener):
    def __init__(self, server_id: str) -> None:
        self._server_id = server_id

    def on_ws_connected(self, transport: WSTransport) -> None:
        binaries[self._server_id] = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            envelope = unwrap(frame.get_payload_as_bytes())
            assert envelope.conn_id
            phones[envelope.conn_id].send(WSMsgType.TEXT, bytes(envelope.frame))


class Phone(WSListener):
    def __init__(self, server_id: str) -> None:
        self._server_id = server_id
        self._conn_id = f"client-{server_id}-{os.urandom(4).hex()}"
        self._prefix = phone_prefix(self._conn_id)

    def on_ws_connected(self, transport: WSTransport) -> None:
        phones[self._conn_id] = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            check_frame(message)
            binaries[self._server_id].send(WSMsgType.TEXT, self._prefix + message + b"}")


def listener_for(request: WSUpgradeRequest) -> WSListener:
    server_id = request.headers["X-Pyrycode-Server"]
    return Binary(server_id) if request.path == b"/v1/server" else Phone(server_id)


async def main(port: int) -> None:
    server = await ws_create_server(listener_for, "127.0.0.1", port)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
