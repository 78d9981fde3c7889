"""Text is UTF-8 (RFC 6455 §5.6, §8.1; RFC 3629).

Invalid text ends the connection with 1007, and where it comes in fragments, with the first that
makes it invalid: such a case sends nothing behind it and waits for the close. What the first
impossible byte is comes from the grammar of RFC 3629 §4, not from any decoder.
"""

import re
from collections.abc import Iterator

from tests.conformance.case import Case, cut, echo, fails, fragments, pong, works
from tests.support.peer import BINARY, PING, client_frame

TAIL = rb"[\x80-\xbf]"
# The characters of more than one byte: what they begin with, then so many tails.
BEGINNINGS = (
    (rb"[\xc2-\xdf]", 1),
    (rb"\xe0[\xa0-\xbf]", 1),
    (rb"[\xe1-\xec\xee\xef]" + TAIL, 1),
    (rb"\xed[\x80-\x9f]", 1),
    (rb"\xf0[\x90-\xbf]", 2),
    (rb"[\xf1-\xf3]" + TAIL, 2),
    (rb"\xf4[\x80-\x8f]", 2),
)
CHARACTER = b"|".join([rb"[\x00-\x7f]", *(start + TAIL * tails for start, tails in BEGINNINGS)])
CUT = b"|".join(
    [rb"[\xc2-\xf4]", *(start + TAIL * n for start, tails in BEGINNINGS for n in range(tails))]
)
WHOLE_TEXT = re.compile(rb"(?:" + CHARACTER + rb")*")
BEGUN_TEXT = re.compile(rb"(?:" + CHARACTER + rb")*(?:" + CUT + rb")?")


def first_impossible(text: bytes) -> int | None:
    """Where text cannot be the beginning of UTF-8 any more; ``None`` if it only ends too soon."""
    return next((at for at in range(len(text)) if not BEGUN_TEXT.fullmatch(text[: at + 1])), None)


def character(code: int) -> bytes:
    """By the rule of §3, whether allowed or not, up to six bytes."""
    if code < 0x80:
        return bytes([code])
    size = next(size for size in range(2, 7) if code < 1 << (5 * size + 1))
    return overlong(code, size)


def overlong(code: int, size: int) -> bytes:
    """In ``size`` bytes, needed or not."""
    tails = [0x80 | (code >> (6 * n)) & 0x3F for n in range(size - 1)]
    return bytes([(0xFF00 >> size) & 0xFF | code >> (6 * (size - 1)), *reversed(tails)])


GREEK = "κόσμε".encode()

VALID = {
    "Greek": GREEK,
    "of one to four bytes": "aä€𝄞".encode(),
    "with a NUL": b"a\x00b",
    "with a byte order mark": "\ufeffa".encode(),
    "combining, right to left, emoji": "é א ع 👩‍🚀".encode(),
    **{
        f"U+{code:04X}": character(code)
        for code in (
            *(0x00, 0x7F, 0x80, 0xA2, 0x7FF, 0x800, 0x20AC, 0xD7FF, 0xE000, 0xFFFF),
            *(0x10000, 0x24B62, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000, 0x10FFFF),
            *range(0xFFF9, 0xFFFF),  # the specials, U+FFFE not being a character
            *(0xFDD0, 0xFDEF),  # noncharacters, as the two at the end of each plane
            *(plane << 16 | last for plane in range(1, 16) for last in (0xFFFE, 0xFFFF)),
            0x10FFFE,
        )
    },
}

SURROGATES = (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF)
INCOMPLETE = [character(code)[:-1] for code in (0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF)]
INCOMPLETE += [overlong(0, size)[:-1] for size in range(2, 7)]

INVALID = {
    **{
        f"cut after {at} bytes": GREEK[:at]
        for at in range(1, len(GREEK))
        if not WHOLE_TEXT.fullmatch(GREEK[:at])
    },
    **{f"{code:X}, too large": character(code) for code in (0x110000, 0x13FFFF, 0x140000)},
    **{
        f"{code:X}, too large, in {len(character(code))} bytes": character(code)
        for code in (0x1FFFFF, 0x200000, 0x3FFFFFF, 0x4000000, 0x7FFFFFFF)
    },
    **{f"{n} tails": (b"\x80\xbf" * 4)[:n] for n in range(1, 8)},
    "the last tail": b"\xbf",
    "all tails": bytes(range(0x80, 0xC0)),
    **{
        f"beginnings from {low:x} to {high:x}": b"".join(
            bytes([byte, 0x20]) for byte in range(low, high + 1)
        )
        for low, high in ((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD))
    },
    **{f"without its last byte: {part.hex()}": part for part in INCOMPLETE},
    "all of those": b"".join(INCOMPLETE),
    "fe": b"\xfe",
    "ff": b"\xff",
    "fe and ff": b"\xfe\xfe\xff\xff",
    **{f"f{n:x}, which begins nothing": bytes([0xF0 | n]) for n in range(5, 14)},
    **{f"an overlong / of {size}": overlong(0x2F, size) for size in range(2, 7)},
    **{
        f"the largest overlong of {size}": overlong((1 << (5 * (size - 1) + 1)) - 1, size)
        for size in range(3, 7)
    },
    "the largest overlong of 2": overlong(0x7F, 2),
    **{f"an overlong NUL of {size}": overlong(0, size) for size in range(2, 7)},
    **{f"the surrogate {code:X}": character(code) for code in SURROGATES},
    **{
        f"the surrogates {high:X} {low:X}": character(high) + character(low)
        for high in (0xD800, 0xDB7F, 0xDB80, 0xDBFF)
        for low in (0xDC00, 0xDFFF)
    },
    "a surrogate between letters": GREEK + character(0xD800) + b"edited",
    "Latin-1": "Grüße".encode("latin-1"),
    "UTF-16": "Grüße".encode("utf-16-le"),
}


def valid(name: str, text: bytes) -> Iterator[Case]:
    """Whole, and cut wherever a character can be cut."""
    yield works(f"valid, {name}", "§5.6", [client_frame(text)], echo(text))
    if len(text) > 1:
        yield works(f"valid, {name}, by bytes", "§5.4", fragments(cut(text, 1)), echo(text))


def invalid(name: str, text: bytes) -> Iterator[Case]:
    """Whole, and by bytes up to the first that is impossible."""
    yield fails(f"invalid, {name}", "§8.1", [client_frame(text)], 1007)
    yield fails(
        f"invalid, {name}, behind a message and among text",
        "§8.1",
        [client_frame(b"good"), client_frame(b"text " + text + b" text")],
        1007,
        echo(b"good"),
    )
    at = first_impossible(text)
    if at is None:
        yield fails(f"invalid, {name}, by bytes", "§8.1", fragments(cut(text, 1)), 1007)
    else:
        parts = cut(text[: at + 1], 1)
        yield fails(f"invalid, {name}, by bytes", "§8.1", fragments(parts, fin=False), 1007)


MIXED = "aä€𝄞 κόσμε".encode()
BAD = GREEK + b"\xf4\x90"

CASES = (
    *(case for name, text in VALID.items() for case in valid(name, text)),
    *(
        works(
            f"valid, cut before byte {at} of {len(MIXED)}",
            "§5.4",
            fragments([MIXED[:at], MIXED[at:]]),
            echo(MIXED),
        )
        for at in range(len(MIXED) + 1)
    ),
    *(
        works(
            f"valid, with a ping before byte {at}",
            "§5.4",
            [
                *fragments([MIXED[:at]], fin=False),
                client_frame(b"\xff", PING),
                client_frame(b"", 0, fin=False),
                client_frame(MIXED[at:], 0),
            ],
            *(pong(b"\xff"), echo(MIXED)),
        )
        for at in (2, 4, 5, 7, 8, 9)
    ),
    *(case for name, text in INVALID.items() for case in invalid(name, text)),
    fails(
        "a character is not continued in the next message",
        "§8.1",
        [client_frame(GREEK[:1])],
        1007,
        behind=client_frame(GREEK[1:]),
    ),
    fails(
        "a character is not continued behind an empty last fragment",
        "§8.1",
        fragments([GREEK[:1], b"", b""]),
        1007,
    ),
    fails(
        "the second of three fragments is invalid",
        "§8.1",
        fragments([GREEK, BAD], fin=False),
        1007,
    ),
    fails(
        "a fragment ends where a character turns out impossible",
        "§8.1",
        fragments([BAD[:-1], BAD[-1:]], fin=False),
        1007,
    ),
    fails("the first of fragments is invalid", "§8.1", fragments([b"\xff"], fin=False), 1007),
    fails(
        "found in a fragment with a ping before it",
        "§8.1",
        [
            *fragments([GREEK[:1]], fin=False),
            client_frame(b"p", PING),
            client_frame(b"x", 0, fin=False),
        ],
        1007,
        pong(b"p"),
    ),
    fails(
        "the last byte of a long text is wrong",
        "§8.1",
        [client_frame(b"t" * 65535 + b"\x80")],
        1007,
        chop=997,
    ),
    fails(
        "the first byte of a long text is wrong",
        "§8.1",
        [client_frame(b"\x80" + "€".encode() * 20_000)],
        1007,
        chop=997,
    ),
    *(
        works(
            f"binary may be anything: {name}",
            "§5.6",
            [client_frame(text, BINARY), *fragments(cut(text, 1), BINARY)],
            *[echo(text)] * 2,
        )
        for name, text in INVALID.items()
        if len(text) < 3
    ),
    works(
        "a text message after a binary one that ended in a cut character",
        "§5.6",
        [*fragments([b"", GREEK[:1]], BINARY), *fragments([GREEK[:1], GREEK[1:]])],
        *(echo(GREEK[:1]), echo(GREEK)),
    ),
)
