"""PROXY protocol v2: a header in which a proxy gives the address of the client.

Source: the PROXY protocol specification of HAProxy, version 2.
"""

import ipaddress
import struct
from enum import StrEnum
from typing import Final

from fastrelay.address import plain

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_BYTES: Final = 16
"""The bytes of signature, version and command, family, and the length of what follows."""

ADDRESS_BYTES: Final = 2 * 16 + 2 * 2
"""The most bytes of the addresses and ports behind the fixed bytes. TLVs follow them."""

LONGEST_BYTES: Final = 16 * 1024
"""The longest header accepted. TLVs of balancers take up to a few thousand bytes, with the
certificate of a client; HAProxy's own buffer for a header is as long as this."""

_VERSION_1: Final = b"PROXY"
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES: Final = {_TCP4: 4, _TCP6: 16}


class Fault(StrEnum):
    """Why a connection is refused for its header."""

    NOT_BELIEVED = "not_believed"
    NO_HEADER = "no_header"
    VERSION_1 = "version_1"
    MALFORMED = "malformed"
    NOT_TCP = "not_tcp"
    TOO_LONG = "too_long"
    TIMEOUT = "timeout"
    CLOSED = "closed"


class BadHeader(ValueError):
    """The bytes are not a PROXY v2 header, or not one that names a TCP client."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


def check_start(received: bytes) -> None:
    """See whether a header may begin with these bytes, which may be fewer than its fixed ones.

    Raises:
        BadHeader: it does not.
    """
    if SIGNATURE.startswith(received[: len(SIGNATURE)]) or _VERSION_1.startswith(received):
        return
    is_version_1 = received.startswith(_VERSION_1)
    raise BadHeader(Fault.VERSION_1 if is_version_1 else Fault.NO_HEADER)


def length_of(fixed: bytes) -> int:
    """The length of a whole header whose first 16 bytes are ``fixed``.

    Raises:
        BadHeader: it is not a header, or is longer than :data:`LONGEST_BYTES`.
    """
    check_start(fixed)
    command, family, size = struct.unpack_from("!BBH", fixed, len(SIGNATURE))
    if command not in {_LOCAL, _PROXY}:
        raise BadHeader(Fault.MALFORMED)
    if command == _PROXY and family not in _ADDRESS_BYTES:
        raise BadHeader(Fault.NOT_TCP)
    if FIXED_BYTES + size > LONGEST_BYTES:
        raise BadHeader(Fault.TOO_LONG)
    if command == _PROXY and size < 2 * _ADDRESS_BYTES[family] + 4:
        raise BadHeader(Fault.MALFORMED)
    return FIXED_BYTES + int(size)


def source_of(header: bytes) -> str | None:
    """The client's address in a header that :func:`length_of` accepts; TLVs are ignored.

    Args:
        header: the fixed bytes and the addresses, or more.

    Returns:
        ``None`` for the command LOCAL: the proxy itself is the client, and checks our health.
    """
    if header[12] == _LOCAL:
        return None
    size = _ADDRESS_BYTES[header[13]]
    return plain(ipaddress.ip_address(header[FIXED_BYTES : FIXED_BYTES + size]))
