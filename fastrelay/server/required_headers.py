"""Gate 4: the headers that an endpoint requires."""

import re
from typing import Final, NamedTuple

from fastrelay.http.exchange import Exchange

_PRINTABLE: Final = re.compile(rb"[ -~]+")


class Required(NamedTuple):
    """A header that must occur once, with 1 to ``limit`` bytes of printable ASCII.

    ``kept``: whether its value is passed on. The value of a credential is checked and dropped.
    """

    name: bytes
    limit: int = 256
    kept: bool = True


SERVER_HEADERS: Final = (
    Required(b"x-pyrycode-server"),
    Required(b"x-pyrycode-version"),
    Required(b"user-agent", 1024, kept=False),
)
CLIENT_HEADERS: Final = (
    Required(b"x-pyrycode-server"),
    Required(b"x-pyrycode-token", 4096, kept=False),
    Required(b"user-agent", 1024, kept=False),
)


def check_headers(exchange: Exchange, required: tuple[Required, ...]) -> dict[bytes, str] | None:
    """The kept values by name, or ``None`` if one is missing, given twice, or out of bounds."""
    kept = {}
    for name, limit, keep in required:
        values = exchange.header(name)
        if len(values) != 1 or len(values[0]) > limit or not _PRINTABLE.fullmatch(values[0]):
            return None
        if keep:
            kept[name] = values[0].decode("ascii")
    return kept
