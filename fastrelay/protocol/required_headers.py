"""The headers that each endpoint requires, and what is wrong with one."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_PRINTABLE: Final = re.compile(rb"[ -~]+")


class Required(NamedTuple):
    """A header that must occur once, with 1 to ``limit`` bytes.

    Attributes:
        kept: whether its value is passed on. The value of a credential is checked and dropped.
        printable: whether the bytes must be printable ASCII. User agents may contain any bytes.
    """

    name: bytes
    limit: int = 256
    kept: bool = True
    printable: bool = True


_USER_AGENT: Final = Required(b"user-agent", 1024, kept=False, printable=False)

REQUIRED: Final = {
    "server": (
        Required(b"x-pyrycode-server"),
        Required(b"x-pyrycode-version"),
        _USER_AGENT,
    ),
    "client": (
        Required(b"x-pyrycode-server"),
        Required(b"x-pyrycode-token", 4096, kept=False),
        _USER_AGENT,
    ),
}
"""By the last part of the endpoint's path."""


def fault_of(header: Required, values: Sequence[bytes]) -> str:
    """What is wrong with a header; empty if nothing is. It quotes nothing of its values."""
    if not values:
        return "missing"
    if len(values) > 1:
        return "given more than once"
    if not values[0]:
        return "empty"
    if len(values[0]) > header.limit:
        return f"longer than {header.limit} bytes"
    if header.printable and not _PRINTABLE.fullmatch(values[0]):
        return "not printable ASCII"
    return ""
