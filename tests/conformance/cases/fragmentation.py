"""Messages in fragments (RFC 6455 §5.4)."""

from tests.conformance.case import closes, closing, cut, echo, fails, fragments, pong, works
from tests.support.peer import BINARY, PING, PONG, TEXT, client_frame

KINDS = {"text": TEXT, "binary": BINARY}
LONG = b"0123456789abcdef" * 4096


def more(payload: bytes, *, fin: bool = True) -> bytes:
    """A continuation."""
    return client_frame(payload, 0, fin=fin)


CASES = (
    *(
        case
        for kind, opcode in KINDS.items()
        for case in (
            works(f"{kind} in two", "§5.4", fragments([b"one ", b"two"], opcode), echo(b"one two")),
            works(
                f"{kind} of which each fragment is empty",
                "§5.4",
                fragments([b"", b"", b""], opcode),
                echo(b""),
            ),
            works(
                f"{kind} with empty fragments around the only full one",
                "§5.4",
                fragments([b"", b"full", b""], opcode),
                echo(b"full"),
            ),
            works(
                f"{kind} with a ping inside",
                "§5.4",
                [*fragments([b"1"], opcode, fin=False), client_frame(b"p", PING), more(b"2")],
                *(pong(b"p"), echo(b"12")),
            ),
            works(
                f"{kind} with a ping behind each of five fragments",
                "§5.4",
                [
                    frame
                    for at, fragment in enumerate(fragments(cut(b"abcde", 1), opcode))
                    for frame in (fragment, client_frame(b"%d" % at, PING))
                ],
                *(*(pong(b"%d" % at) for at in range(4)), echo(b"abcde"), pong(b"4")),
            ),
            works(
                f"{kind} with a pong inside",
                "§5.4",
                [*fragments([b"1"], opcode, fin=False), client_frame(b"p", PONG), more(b"2")],
                echo(b"12"),
            ),
            fails(
                f"{kind} begun inside a message",
                "§5.4",
                [client_frame(b"1", fin=False), client_frame(b"2", opcode, fin=False)],
                1002,
            ),
            fails(
                f"whole {kind} inside a message",
                "§5.4",
                [client_frame(b"1", fin=False), client_frame(b"2", opcode)],
                1002,
                behind=more(b"3"),
            ),
            fails(
                f"whole {kind} inside a binary message, behind two fragments",
                "§5.4",
                [*fragments([b"1", b"2"], BINARY, fin=False), client_frame(b"3", opcode)],
                1002,
            ),
            fails(
                f"nothing to continue behind {kind}",
                "§5.4",
                [client_frame(b"whole", opcode), more(b"x")],
                1002,
                echo(b"whole"),
            ),
            fails(
                f"nothing to continue behind {kind} in fragments",
                "§5.4",
                [*fragments([b"1", b"2"], opcode), more(b"x", fin=False)],
                1002,
                echo(b"12"),
            ),
            *(
                works(
                    f"{kind} of 65536 bytes in fragments of {size}",
                    "§5.4",
                    fragments(cut(LONG, size), opcode),
                    echo(LONG),
                    chop=4093,
                )
                for size in (64, 256, 1024, 1300, 4096, 16384, 65535)
            ),
        )
    ),
    *(
        fails(f"nothing to continue, {what}", "§5.4", [more(payload, fin=fin)], 1002)
        for what, payload, fin in (
            ("the last", b"x", True),
            ("not the last", b"x", False),
            ("empty", b"", True),
            ("empty, and not the last", b"", False),
        )
    ),
    fails(
        "nothing to continue, again and again",
        "§5.4",
        [more(b"1", fin=False)],
        1002,
        behind=more(b"2", fin=False) + more(b"3") + client_frame(b"4"),
    ),
    works(
        "a thousand fragments of one byte",
        "§5.4",
        fragments(cut(LONG[:1000], 1)),
        echo(LONG[:1000]),
        chop=5,
    ),
    works(
        "ten thousand empty fragments",
        "§5.4",
        fragments([b"begun", *[b""] * 10_000, b" and ended"]),
        echo(b"begun and ended"),
        chop=4093,
    ),
    works(
        "ten messages in fragments, one behind the other",
        "§5.4",
        [frame for n in range(10) for frame in fragments([b"%d" % n, b"!"])],
        *(echo(b"%d!" % n) for n in range(10)),
    ),
    works(
        "fragments of every length form",
        "§5.4",
        fragments([b"", LONG[:125], LONG[:126], LONG, LONG[:1]]),
        echo(LONG[:125] + LONG[:126] + LONG + LONG[:1]),
        chop=1021,
    ),
    works(
        "whole and in fragments in turn",
        "§5.4",
        [client_frame(b"a"), *fragments([b"b", b"c"], BINARY), client_frame(b"d", BINARY)],
        *(echo(b"a"), echo(b"bc"), echo(b"d")),
    ),
    closes(
        "a close frame inside a message",
        "§5.5.1",
        [client_frame(b"1", fin=False), closing(1000)],
        1000,
    ),
    closes(
        "a close frame inside a message, and the rest behind it",
        "§5.5.1",
        [client_frame(b"whole"), client_frame(b"1", fin=False), closing(1001)],
        1001,
        echo(b"whole"),
        behind=more(b"2"),
    ),
)
