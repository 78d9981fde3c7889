"""Pings and pongs (RFC 6455 §5.5, §5.5.2, §5.5.3)."""

from tests.conformance.case import bare, echo, fails, fragments, pong, works
from tests.support.peer import BINARY, PING, PONG, client_frame

MANY = tuple(b"ping %d" % n for n in range(10))
EVERY_BYTE = bytes(range(256))

CASES = (
    *(
        works(
            f"a ping of {size} bytes",
            "§5.5.2",
            [client_frame(b"p" * size, PING)],
            pong(b"p" * size),
        )
        for size in (0, 1, 5, 124, 125)
    ),
    *(
        works(
            f"a ping of the bytes from {start}",
            "§5.5.2",
            [client_frame(EVERY_BYTE[start : start + 125], PING)],
            pong(EVERY_BYTE[start : start + 125]),
        )
        for start in (0, 125, 131)
    ),
    *(
        fails(
            f"a {kind} of {size} bytes",
            "§5.5",
            [client_frame(b"p" * size, opcode)],
            1002,
        )
        for kind, opcode in (("ping", PING), ("pong", PONG))
        for size in (126, 127, 1000)
    ),
    fails("a ping whose length is not in its shortest form", "§5.5", [bare(0x89, 4, 2)], 1002),
    fails("a ping in fragments", "§5.5", [client_frame(b"p", PING, fin=False)], 1002),
    fails("a pong in fragments", "§5.5", [client_frame(b"p", PONG, fin=False)], 1002),
    fails(
        "a ping in fragments, and the rest",
        "§5.5",
        [client_frame(b"p", PING, fin=False)],
        1002,
        behind=client_frame(b"q", 0),
    ),
    fails("a ping not masked", "§5.1", [client_frame(b"p", PING, masked=False)], 1002),
    fails("a pong not masked", "§5.1", [client_frame(b"p", PONG, masked=False)], 1002),
    works("a pong nobody asked for", "§5.5.3", [client_frame(b"", PONG)]),
    works("a pong of 125 bytes nobody asked for", "§5.5.3", [client_frame(b"\xff" * 125, PONG)]),
    works(
        "a pong nobody asked for, then a ping",
        "§5.5.3",
        [client_frame(b"unasked", PONG), client_frame(b"asked", PING)],
        pong(b"asked"),
    ),
    works("ten pings", "§5.5.2", [client_frame(p, PING) for p in MANY], *map(pong, MANY)),
    works(
        "a ping before and behind each message",
        "§5.5.2",
        [
            *(client_frame(b"a", PING), client_frame(b"1"), client_frame(b"b", PING)),
            *(client_frame(b"2", BINARY), client_frame(b"c", PING)),
        ],
        *(pong(b"a"), echo(b"1"), pong(b"b"), echo(b"2"), pong(b"c")),
    ),
    works(
        "a ping inside a message is answered before it is whole",
        "§5.4",
        [*fragments([b"1"], fin=False), client_frame(b"p", PING), client_frame(b"2", 0)],
        *(pong(b"p"), echo(b"12")),
    ),
)
