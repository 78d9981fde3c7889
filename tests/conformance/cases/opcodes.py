"""Opcodes that mean nothing yet (RFC 6455 §5.2)."""

from tests.conformance.case import echo, fails
from tests.support.peer import PING, client_frame

DATA = range(3, 8)
CONTROL = range(11, 16)

CASES = tuple(
    case
    for opcode in (*DATA, *CONTROL)
    for case in (
        fails(f"opcode {opcode}, empty", "§5.2", [client_frame(b"", opcode)], 1002),
        fails(f"opcode {opcode} with a payload", "§5.2", [client_frame(b"data", opcode)], 1002),
        fails(
            f"opcode {opcode}, first of fragments",
            "§5.2",
            [client_frame(b"", opcode, fin=False)],
            1002,
        ),
        fails(
            f"opcode {opcode} behind a message, and a ping behind it",
            "§5.2",
            [client_frame(b"good"), client_frame(b"", opcode)],
            1002,
            echo(b"good"),
            behind=client_frame(b"", PING),
        ),
        fails(
            f"opcode {opcode} with a payload behind a message",
            "§5.2",
            [client_frame(b"good"), client_frame(b"data", opcode)],
            1002,
            echo(b"good"),
            behind=client_frame(b"more"),
        ),
        fails(
            f"opcode {opcode} inside a message",
            "§5.4",
            [client_frame(b"begun", fin=False), client_frame(b"", opcode)],
            1002,
        ),
    )
)
