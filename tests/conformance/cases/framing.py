"""Lengths, masks and kinds of whole messages (RFC 6455 §5.2, §5.3, §5.6)."""

from tests.conformance.case import bare, echo, fails, works
from tests.support.peer import BINARY, CLOSE, PING, TEXT, client_frame

SIZES = (0, 1, 2, 124, 125, 126, 127, 128, 129, 255, 256, 1000, 65535, 65536, 65537)
LETTERS = "aä€𝄞".encode()
EVERY_BYTE = bytes(range(256))


def chop(size: int) -> int:
    """Byte by byte while that is quick."""
    return 1 if size < 3000 else 997


CASES = (
    *(
        works(
            f"text of {size} bytes",
            "§5.2",
            [client_frame(b"*" * size)],
            echo(b"*" * size),
            chop=chop(size),
        )
        for size in SIZES
    ),
    *(
        works(
            f"binary of {size} bytes",
            "§5.2",
            [client_frame(b"\xfe" * size, BINARY)],
            echo(b"\xfe" * size),
            chop=chop(size),
        )
        for size in SIZES
    ),
    *(
        works(
            f"text of {size} bytes beyond ASCII",
            "§5.6",
            [client_frame(LETTERS * (size // 10))],
            echo(LETTERS * (size // 10)),
            chop=chop(size),
        )
        for size in (10, 120, 130, 250, 65530, 65540)
    ),
    *(
        works(
            f"text of 65536 bytes in pieces of {size}",
            "§5.2",
            [client_frame(b"*" * 65536)],
            echo(b"*" * 65536),
            chop=size,
        )
        for size in (64, 128, 256, 512, 1024, 2048, 4096)
    ),
    *(
        works(
            f"binary of 65536 bytes in pieces of {size}",
            "§5.2",
            [client_frame(b"\xfe" * 65536, BINARY)],
            echo(b"\xfe" * 65536),
            chop=size,
        )
        for size in (64, 128, 256, 512, 1024, 2048, 4096)
    ),
    *(
        works(
            f"masked with {key.hex()}",
            "§5.3",
            [client_frame(EVERY_BYTE + b"odd", BINARY, key=key)],
            echo(EVERY_BYTE + b"odd"),
        )
        for key in (bytes(4), b"\xff" * 4, b"\x00\x00\x00\x01", b"\x81\xfe\x00\x01")
    ),
    *(
        fails(f"{kind} not masked", "§5.1", [client_frame(payload, opcode, masked=False)], 1002)
        for kind, opcode, payload in (
            ("text", TEXT, b"x"),
            ("empty text", TEXT, b""),
            ("binary", BINARY, b"x"),
            ("ping", PING, b""),
            ("close", CLOSE, b"\x03\xe8"),
        )
    ),
    fails(
        "not masked, behind one that is",
        "§5.1",
        [client_frame(b"1"), client_frame(b"2", masked=False)],
        1002,
        echo(b"1"),
        behind=client_frame(b"3"),
    ),
    *(
        fails(f"{size} written with 2 bytes", "§5.2", [bare(0x81, size, 2, b"*" * size)], 1002)
        for size in (0, 1, 125)
    ),
    *(
        fails(f"{size} written with 8 bytes", "§5.2", [bare(0x81, size, 8)], 1002)
        for size in (0, 1, 125, 126, 65535)
    ),
    fails("a length with its top bit set", "§5.2", [bare(0x81, 1 << 63, 8)], 1002),
    works(
        "a hundred messages in one piece",
        "§5.4",
        [client_frame(b"%d" % n, TEXT if n % 2 else BINARY) for n in range(100)],
        *(echo(b"%d" % n) for n in range(100)),
    ),
    works(
        "messages of all length forms in turn",
        "§5.2",
        [client_frame(b"*" * size) for size in (0, 65536, 126, 1, 65535, 125, 70000, 0)],
        *(echo(b"*" * size) for size in (0, 65536, 126, 1, 65535, 125, 70000, 0)),
        chop=1021,
    ),
)
