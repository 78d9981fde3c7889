"""Bits that only an extension may set, and none is negotiated (RFC 6455 §5.2)."""

from tests.conformance.case import closing, echo, fails
from tests.support.peer import BINARY, CLOSE, PING, PONG, TEXT, client_frame

BITS = range(0x10, 0x80, 0x10)
KINDS = {"text": TEXT, "binary": BINARY, "ping": PING, "pong": PONG, "close": CLOSE}

CASES = (
    *(
        fails(
            f"{kind} with {rsv >> 4:03b}",
            "§5.2",
            [client_frame(b"", opcode, rsv=rsv)],
            1002,
        )
        for rsv in BITS
        for kind, opcode in KINDS.items()
    ),
    *(
        fails(
            f"{rsv >> 4:03b} behind a message, and a ping behind it",
            "§5.2",
            [client_frame(b"good"), client_frame(b"bad", rsv=rsv)],
            1002,
            echo(b"good"),
            behind=client_frame(b"", PING),
        )
        for rsv in BITS
    ),
    *(
        fails(
            f"a continuation with {rsv >> 4:03b}",
            "§5.2",
            [client_frame(b"begun", fin=False), client_frame(b"", 0, rsv=rsv)],
            1002,
        )
        for rsv in BITS
    ),
    fails(
        "a reserved bit, and a close frame behind it",
        "§5.2",
        [client_frame(b"", PING, rsv=0x40)],
        1002,
        behind=closing(1000),
    ),
    fails(
        "seen before the mask and the payload",
        "§5.2",
        [b"\xc1\xff"],
        1002,
    ),
)
