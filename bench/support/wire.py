"""WebSocket bytes, as a client says and sees them. Made to be cheap, not to be strict."""

import base64
import os
import struct

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
_KEY = b"\x37\xfa\x21\x3d"


def handshake(path: str, **headers: str) -> bytes:
    """An upgrade request with ``headers`` (underscores stand for hyphens)."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: bench",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        "User-Agent: bench/1",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def binary_handshake(server_id: str) -> bytes:
    """How a daemon dials in."""
    return handshake("/v1/server", X_Pyrycode_Server=server_id, X_Pyrycode_Version="1.0.0")


def phone_handshake(server_id: str) -> bytes:
    """How a phone dials in."""
    return handshake("/v1/client", X_Pyrycode_Server=server_id, X_Pyrycode_Token="token")


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One whole masked frame."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0xFF, size)
    key = (_KEY * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)
    return head + _KEY + masked


def header_size(payload: int) -> int:
    """Bytes a server's frame has before a payload of that many."""
    return 2 if payload < 126 else 4 if payload < 65536 else 10


def next_frame(data: bytes | bytearray, start: int = 0) -> tuple[int, int, int] | None:
    """Opcode, begin and end of the payload of the frame at ``start``; ``None``: not all there."""
    if len(data) < start + 2:
        return None
    size = data[start + 1]
    begin = start + header_size(size if size < 126 else 126 if size == 126 else 1 << 16)
    if len(data) < begin:
        return None
    if size > 125:
        size = int.from_bytes(data[start + 2 : begin])
    end = begin + size
    return (data[start] & 0x0F, begin, end) if len(data) >= end else None
