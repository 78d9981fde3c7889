"""Plays one case: a blocking socket that sends what the case says and hears the server out."""

import contextlib
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from tests.conformance.case import Case, closing
from tests.conformance.echo import EchoServer, Ending
from tests.support.certificates import authority
from tests.support.peer import (
    CLOSE,
    PONG,
    TIMEOUT,
    Frame,
    FrameReader,
    close_payload,
    request,
    upgrade_headers,
)


@dataclass(frozen=True)
class Way:
    """How the bytes get there.

    ``read``: the server reads so many bytes at a time (0: all there is), which no kernel and no
    scheduler can change. ``write``: so many the client sends at a time. ``with_head``: the first
    of them come in one piece with the request head.
    """

    read: int = 0
    write: int = 0
    with_head: bool = False


def ways(case: Case) -> tuple[Way, ...]:
    """Every case goes all of them: at once, behind the request's head, and chopped."""
    return Way(), Way(with_head=True), Way(read=case.chop, write=case.chop)


def play(case: Case, way: Way, server: EchoServer, *, secure: bool) -> None:
    """Fails if the server does anything but what the case demands."""
    try:
        frames = _converse(case, way, server.ports[secure], secure=secure)
    finally:
        ending = server.endings.get(timeout=TIMEOUT)
    # A violation is no close frame: the application hears of none.
    told = None if case.end == "failed" else case.code
    assert ending == Ending([told], case.ignored)
    assert not server.faults
    assert frames, "the server hung up without a close frame"
    *answers, last = frames
    if way.read == 1:
        assert answers == list(case.answers)
    else:
        # What comes in one read may be answered with the messages first, pings behind.
        assert _by_kind(answers) == _by_kind(case.answers)
    assert (last.opcode, last.fin) == (CLOSE, True)
    if case.end == "failed":
        assert last.payload[:2] == close_payload(case.code or 0)
        last.payload[2:].decode()
    else:
        assert last.payload == (b"" if case.code is None else close_payload(case.code))


def _by_kind(frames: Iterable[Frame]) -> tuple[list[Frame], list[Frame]]:
    """Messages and pongs, each in their order."""
    return (
        [frame for frame in frames if frame.opcode != PONG],
        [frame for frame in frames if frame.opcode == PONG],
    )


def _converse(case: Case, way: Way, port: int, *, secure: bool) -> list[Frame]:
    """Say what the case says; returns every frame that came back by the end of TCP."""
    sent = case.sent + (closing(1000) if case.end == "open" else b"")
    with _dial(port, secure=secure) as sock:
        reader = _upgrade(sock, case, way, sent if way.with_head else b"")
        if not way.with_head:
            _send(sock, sent, way.write)
        if case.behind:
            _send_late(sock, case.behind)
        return _hear_out(sock, reader, may_reset=bool(case.behind) and case.end == "closed")


def _dial(port: int, *, secure: bool) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if secure:
        return authority().client.wrap_socket(
            sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False
        )
    return sock


def _upgrade(sock: socket.socket, case: Case, way: Way, early: bytes) -> FrameReader:
    wish = (("read", way.read), ("limit", case.limit))
    query = "&".join(f"{name}={value}" for name, value in wish if value)
    sock.sendall(request(f"/?{query}", upgrade_headers()) + early)
    received = b""
    while b"\r\n\r\n" not in received:
        data = sock.recv(65536)
        assert data, received
        received += data
    head, _, behind = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    reader = FrameReader()
    reader.receive(behind)
    return reader


def _send(sock: socket.socket, data: bytes, size: int) -> None:
    for at in range(0, len(data), size or len(data) or 1):
        sock.sendall(data[at : at + (size or len(data))])


def _send_late(sock: socket.socket, data: bytes) -> None:
    # The server may have hung up already; to TLS that is the end of the file.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        sock.sendall(data)


def _hear_out(sock: socket.socket, reader: FrameReader, *, may_reset: bool) -> list[Frame]:
    """Every frame until the server ends TCP, with TLS's own goodbye before that."""
    frames = []
    try:
        while True:
            while (frame := reader.next()) is not None:
                frames.append(frame)
            data = sock.recv(65536)
            if not data:
                break
            reader.receive(data)
        with socket.socket(fileno=os.dup(sock.fileno())) as plain:
            plain.settimeout(TIMEOUT)
            assert plain.recv(1) == b""
    except ConnectionResetError:
        # Bytes that came behind a close frame and were left unread reset the socket.
        if not may_reset:
            raise
    return frames
