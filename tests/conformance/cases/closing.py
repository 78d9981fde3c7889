"""Close frames and what may stand in them (RFC 6455 §5.5.1, §7)."""

from tests.conformance.case import bare, closes, closing, echo, fails, pong
from tests.conformance.echo import CLOSE_ME
from tests.support.peer import CLOSE, PING, PONG, client_frame

MAY_TRAVEL = (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4404, 4999)
RESERVED = (1004, 1005, 1006, 1015)
UNASSIGNED = (1016, 1100, 2000, 2999)
NO_CODES = (0, 1, 999, 5000, 9999, 32768, 65535)

REASONS = {
    "a reason": b"going away",
    "a reason of 122 bytes": b"r" * 122,
    "a reason of 123 bytes": b"r" * 123,
    "a reason beyond ASCII": "tschüß €𝄞".encode(),
    "a reason beyond ASCII of 123 bytes": "€".encode() * 41,
    "a reason with a NUL": b"a\x00b",
}
NO_REASONS = {
    "a byte that is never UTF-8": b"\xff",
    "a cut character": "€".encode()[:2],
    "a surrogate": b"good \xed\xa0\x80",
    "an overlong form": b"\xc0\xaf",
    "a character beyond Unicode": b"\xf4\x90\x80\x80",
    "the last byte of 123 wrong": b"r" * 122 + b"\x80",
}
BEHIND = {
    "a message": client_frame(b"late"),
    "a ping": client_frame(b"late", PING),
    "a pong": client_frame(b"late", PONG),
    "a close frame": closing(1001),
    "a fragment": client_frame(b"late", fin=False),
    "a violation": client_frame(b"late", rsv=0x70),
    "what is no frame": b"\xff" * 50,
    "a message of 65536 bytes": client_frame(b"l" * 65536),
}

PEER = (
    closes("an empty close frame", "§5.5.1", [client_frame(b"", CLOSE)], None),
    fails("a close frame of one byte", "§5.5.1", [client_frame(b"\x03", CLOSE)], 1002),
    *(closes(f"code {code}", "§7.4", [closing(code)], code) for code in MAY_TRAVEL),
    *(fails(f"code {code}, reserved", "§7.4.1", [closing(code)], 1002) for code in RESERVED),
    *(fails(f"code {code}, unassigned", "§7.4.2", [closing(code)], 1002) for code in UNASSIGNED),
    *(fails(f"code {code}, never defined", "§7.4.2", [closing(code)], 1002) for code in NO_CODES),
    fails("a bad code and a reason", "§7.4.2", [closing(1005, b"why")], 1002),
    *(closes(name, "§5.5.1", [closing(1000, why)], 1000) for name, why in REASONS.items()),
    *(
        fails(f"a reason with {name}", "§5.5.1, §8.1", [closing(1000, why)], 1007)
        for name, why in NO_REASONS.items()
    ),
    *(
        fails(f"a reason of {size} bytes", "§5.5", [closing(1000, b"r" * size)], 1002)
        for size in (124, 125, 1000)
    ),
    fails("a close frame in fragments", "§5.5", [client_frame(b"", CLOSE, fin=False)], 1002),
    fails("a close frame not masked", "§5.1", [client_frame(b"", CLOSE, masked=False)], 1002),
    fails("a length not in its shortest form", "§5.5", [bare(0x88, 2, 2)], 1002),
    closes(
        "behind a message and a ping",
        "§5.5.1",
        [client_frame(b"1"), client_frame(b"p", PING), client_frame(b"2"), closing(3000)],
        3000,
        *(echo(b"1"), pong(b"p"), echo(b"2")),
    ),
    *(
        closes(f"nothing behind it is read: {name}", "§5.5.1", [closing(1000)], 1000, behind=late)
        for name, late in BEHIND.items()
    ),
)

FAILED = (
    *(
        fails(
            f"nothing behind a violation is read: {name}",
            "§7.1.7",
            [client_frame(b"good"), client_frame(b"", rsv=0x40)],
            1002,
            echo(b"good"),
            behind=late,
        )
        for name, late in BEHIND.items()
    ),
)


def asked(code: int) -> bytes:
    """Lets the application close."""
    return client_frame(CLOSE_ME + b"%d" % code)


APPLICATION = (
    *(
        closes(f"the application closes with {code}", "§7.1.2", [asked(code), closing(code)], code)
        for code in (1000, 1001, 1011, 4404, 4999)
    ),
)

CASES = (*PEER, *FAILED, *APPLICATION)
