"""What a case is: what a client sends, and what RFC 6455 demands of the server then."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.conformance.echo import answer_to
from tests.support.peer import CLOSE, PONG, TEXT, Frame, client_frame

CONTINUATION = 0x0


@dataclass(frozen=True)
class Case:
    """One row of a table.

    Attributes:
        name: unique in its table.
        section: of RFC 6455, where the demand stands.
        sent: by the client, up to and including what ends the connection.
        answers: the frames that come back before the close frame.
        end: ``open``: it is still good, and a close handshake of ours shows it; ``closed``: both
            sides have closed; ``failed``: the server fails the connection (§7.1.7). In all three
            the server ends TCP.
        code: of the server's close frame; ``None``: that has no body.
        behind: sent after that, and to be ignored.
        limit: bytes a message may have; 0: that of :mod:`tests.conformance.echo`.
        chop: bytes at a time when it is sent in pieces.
        ignored: messages the application is told it has missed.
    """

    name: str
    section: str
    sent: bytes
    answers: tuple[Frame, ...] = ()
    end: Literal["open", "closed", "failed"] = "open"
    code: int | None = 1000
    behind: bytes = b""
    limit: int = 0
    chop: int = 1
    ignored: int = 0


def works(
    name: str, section: str, sent: Iterable[bytes], *answers: Frame, limit: int = 0, chop: int = 1
) -> Case:
    """All is well, and the connection stays."""
    return Case(name, section, b"".join(sent), answers, limit=limit, chop=chop)


def closes(
    name: str,
    section: str,
    sent: Iterable[bytes],
    code: int | None,
    *answers: Frame,
    behind: bytes = b"",
    ignored: int = 0,
) -> Case:
    """The close handshake is gone through."""
    return Case(
        name, section, b"".join(sent), answers, "closed", code, behind=behind, ignored=ignored
    )


def fails(
    name: str,
    section: str,
    sent: Iterable[bytes],
    code: int,
    *answers: Frame,
    behind: bytes = b"",
    limit: int = 0,
    chop: int = 1,
) -> Case:
    """The server fails the connection with ``code``, and with what is in ``sent`` at the latest:
    nothing more is sent till it has."""
    return Case(
        name, section, b"".join(sent), answers, "failed", code, behind, limit=limit, chop=chop
    )


def echo(message: bytes) -> Frame:
    """A message back."""
    return Frame(TEXT, answer_to(message), True)


def pong(payload: bytes = b"") -> Frame:
    """The answer to a ping."""
    return Frame(PONG, payload, True)


def fragments(parts: Sequence[bytes], opcode: int = TEXT, *, fin: bool = True) -> list[bytes]:
    """The frames of one message; without ``fin`` it goes on behind them."""
    last = len(parts) - 1
    return [
        client_frame(part, CONTINUATION if at else opcode, fin=fin and at == last)
        for at, part in enumerate(parts)
    ]


def cut(message: bytes, size: int) -> list[bytes]:
    """A message in parts of ``size`` bytes."""
    return [message[at : at + size] for at in range(0, len(message), size)]


def closing(code: int, reason: bytes = b"") -> bytes:
    """A close frame."""
    return client_frame(struct.pack("!H", code) + reason, CLOSE)


def bare(head: int, size: int, form: Literal[0, 2, 8], payload: bytes = b"") -> bytes:
    """A frame whose length is written with ``form`` more bytes, needed or not."""
    if form == 0:
        header = bytes([head, 0x80 | size])
    elif form == 2:
        header = struct.pack("!BBH", head, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", head, 0x80 | 127, size)
    return header + bytes(4) + payload
