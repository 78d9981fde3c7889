"""PROXY protocol v2: a header in which a proxy gives the address of the client.

Source: the PROXY protocol specification of HAProxy, version 2.
"""

import ipaddress
import struct
from typing import Final

from fastrelay.address import plain

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_BYTES: Final = 16
"""The bytes of signature, version and command, family, and the length of what follows."""

LONGEST_BYTES: Final = 1024
"""The longest header accepted. Addresses and the usual TLVs take a fraction of it."""

_VERSION_2_PROXY: Final = 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES: Final = {_TCP4: 4, _TCP6: 16}


class BadHeader(ValueError):
    """The bytes are not a PROXY v2 header, or not one that names a TCP client."""


def length_of(fixed: bytes) -> int:
    """The length of a whole header whose first 16 bytes are ``fixed``.

    Raises:
        BadHeader: it is not a header, or is longer than :data:`LONGEST_BYTES`.
    """
    if fixed[:12] != SIGNATURE or fixed[12] != _VERSION_2_PROXY:
        raise BadHeader("no signature, or not the PROXY command of version 2")
    if fixed[13] not in _ADDRESS_BYTES:
        raise BadHeader("neither TCP over IPv4 nor over IPv6")
    total: int = FIXED_BYTES + struct.unpack_from("!H", fixed, 14)[0]
    if total > LONGEST_BYTES:
        raise BadHeader("too long")
    return total


def source_of(header: bytes) -> str:
    """The client's address in a whole header; TLVs are ignored.

    Raises:
        BadHeader: the header is too short for its addresses.
    """
    size = _ADDRESS_BYTES[header[13]]
    if len(header) < FIXED_BYTES + 2 * size + 4:
        raise BadHeader("shorter than its addresses")
    return plain(ipaddress.ip_address(header[FIXED_BYTES : FIXED_BYTES + size]))
