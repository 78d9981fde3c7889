"""The largest message (RFC 6455 §7.4.1, §10.4): what may be sent, and when more is refused."""

from tests.conformance.case import bare, cut, echo, fails, fragments, pong, works
from tests.support.peer import BINARY, PING, client_frame

SMALL = 1000
LARGE = 100_000


def of(size: int) -> bytes:
    """A message."""
    return b"m" * size


CASES = (
    *(
        case
        for limit, chop in ((SMALL, 1), (LARGE, 997), (65535, 997), (65536, 997))
        for case in (
            works(
                f"exactly {limit}",
                "§10.4",
                [client_frame(of(limit))],
                echo(of(limit)),
                limit=limit,
                chop=chop,
            ),
            works(
                f"exactly {limit}, twice",
                "§10.4",
                [client_frame(of(limit), BINARY)] * 2,
                *[echo(of(limit))] * 2,
                limit=limit,
                chop=chop,
            ),
            works(
                f"exactly {limit}, assembled",
                "§10.4",
                fragments(cut(of(limit), 100)),
                echo(of(limit)),
                limit=limit,
                chop=chop,
            ),
            fails(
                f"one more than {limit}: the header is enough",
                "§7.4.1",
                [client_frame(of(limit + 1))[: 4 if limit < 65535 else 10]],
                1009,
                limit=limit,
            ),
            fails(
                f"one more than {limit}, sent all the same",
                "§7.4.1",
                [client_frame(b"good"), client_frame(of(limit + 1))],
                1009,
                echo(b"good"),
                limit=limit,
                chop=chop,
            ),
            fails(
                f"one more than {limit}, in two",
                "§7.4.1",
                fragments([of(limit), b"m"], fin=False),
                1009,
                limit=limit,
                chop=chop,
            ),
            fails(
                f"one more than {limit}, a hundred bytes at a time",
                "§7.4.1",
                fragments([*cut(of(limit - limit % 100), 100), of(limit % 100 + 1)]),
                1009,
                limit=limit,
                chop=chop,
            ),
            works(
                f"exactly {limit}, with an empty fragment behind",
                "§5.4",
                fragments([of(limit), b""]),
                echo(of(limit)),
                limit=limit,
                chop=chop,
            ),
        )
    ),
    works(
        "a message may be begun anew after the largest",
        "§5.4",
        [*fragments(cut(of(SMALL), 10)), client_frame(b"p", PING), *fragments([b"a", b"b"])],
        *(echo(of(SMALL)), pong(b"p"), echo(b"ab")),
        limit=SMALL,
    ),
    *(
        fails(f"{size} announced", "§10.4", [bare(0x82, size, 8)], 1009)
        for size in (1 << 31, 1 << 32, (1 << 53) + 1, (1 << 63) - 1)
    ),
    fails("2^63 announced", "§5.2", [bare(0x82, 1 << 63, 8)], 1002),
    fails("2^64 - 1 announced", "§5.2", [bare(0x82, (1 << 64) - 1, 8)], 1002),
    fails(
        "2^63 - 1 announced in a continuation",
        "§10.4",
        [client_frame(b"begun", fin=False), bare(0x80, (1 << 63) - 1, 8)],
        1009,
    ),
)
