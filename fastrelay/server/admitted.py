"""The result of admission: a value with everything that the rest of an upgrade needs."""

import asyncio
import socket
from enum import StrEnum

import msgspec

from fastrelay.net.far_end import FarEnd


class Role(StrEnum):
    """The role of an admitted peer; the value is the last part of its endpoint's path."""

    BINARY = "server"
    PHONE = "client"


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """An upgrade attempt that passed gates 1 to 5 and has not been answered.

    Everything but the transport, its socket and the far end is plain data, so that another process
    could do the rest.

    Attributes:
        version: the version of a binary; empty for a phone.
        device_name: the device name of a phone; empty for a binary, or if none was given.
        client: the address of the client.
        accept_token: the value of Sec-WebSocket-Accept in the 101 (RFC 6455 §4.2.2).
        initial_data: the bytes that came behind the request head: the first frames.
        transport: belongs to the receiver of this value.
        sock: the socket of the peer's TCP connection, to ask the kernel about it; ``None``: nothing
            can be asked. It belongs to the transport, or to the far end.
        started_at: :func:`time.perf_counter` when the connection was accepted.
        far_end: what is known of the end of the peer's TCP connection, if another process has it.
    """

    role: Role
    server_id: str
    version: str
    device_name: str
    client: str
    accept_token: bytes
    initial_data: bytes
    transport: asyncio.Transport
    sock: socket.SocketType | None
    started_at: float
    far_end: FarEnd | None = None
