"""PROXY protocol v2: who the client is, said by the proxy before anything else.

The header is read from the raw socket, in exactly its own bytes, so that what follows (a TLS
handshake) is still there for the transport. Whatever is not as it must be is dropped unanswered.
Source: the PROXY protocol specification of HAProxy, version 2.
"""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

from fastrelay.address import plain
from fastrelay.config.settings import Network
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.policy.caps import Lobby

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_BYTES: Final = 16
"""Signature, version and command, family, and the length of what follows."""

LONGEST_BYTES: Final = 1024
"""A header with more is refused: addresses and the usual TLVs take a fraction of it."""

_VERSION_2_PROXY: Final = 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES: Final = {_TCP4: 4, _TCP6: 16}


class BadHeader(ValueError):
    """Not a PROXY v2 header, or not one that names a TCP client."""


def length_of(fixed: bytes) -> int:
    """How long the whole header is whose first 16 bytes these are.

    Raises:
        BadHeader: it is none, or longer than :data:`LONGEST_BYTES`.
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
        BadHeader: there is no room for addresses.
    """
    size = _ADDRESS_BYTES[header[13]]
    if len(header) < FIXED_BYTES + 2 * size + 4:
        raise BadHeader("shorter than its addresses")
    return plain(ipaddress.ip_address(header[FIXED_BYTES : FIXED_BYTES + size]))


class HeaderReader:
    """Reads one connection's header, beside all the others.

    Args:
        done: given the socket and the client's address once the header is there.
    """

    __slots__ = ("_done", "_header", "_lobby", "_loop", "_sock", "_wheel", "wheel_tick")

    def __init__(
        self,
        sock: socket.socket,
        done: Callable[[socket.socket, str], None],
        wheel: TimerWheel,
        timeout: float,
        lobby: Lobby,
    ) -> None:
        self._sock = sock
        self._done = done
        self._wheel = wheel
        self._lobby = lobby
        self._loop = asyncio.get_running_loop()
        self._header = b""
        self.wheel_tick = 0
        wheel.after(self, timeout)
        lobby.enter(self)
        self._loop.add_reader(sock, self._read)

    def _read(self) -> None:
        wanted = FIXED_BYTES
        try:
            if len(self._header) >= FIXED_BYTES:
                wanted = length_of(self._header)
            data = self._sock.recv(wanted - len(self._header))
            self._header += data
            if not data:
                self.abort()
            elif len(self._header) >= FIXED_BYTES and len(self._header) == length_of(self._header):
                client = source_of(self._header)
                self._leave()
                self._done(self._sock, client)
        except (BlockingIOError, InterruptedError):
            pass
        except (BadHeader, OSError):
            self.abort()

    def on_timer(self) -> None:
        """The header did not come in time."""
        self.abort()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._leave()
        self._sock.close()

    def _leave(self) -> None:
        self._wheel.cancel(self)
        self._lobby.leave(self)
        self._loop.remove_reader(self._sock)


class ProxyHeaders:
    """What stands between a listener and its connections when they come through a proxy.

    Args:
        believed: networks whose header is believed; others are dropped. Empty: anybody's.
        timeout: seconds for a header.
        lobby: where connections are counted meanwhile.
    """

    def __init__(
        self, believed: Sequence[Network], wheel: TimerWheel, timeout: float, lobby: Lobby
    ) -> None:
        self._believed = believed
        self._wheel = wheel
        self._timeout = timeout
        self._lobby = lobby

    def read(
        self, sock: socket.socket, peer: str, done: Callable[[socket.socket, str], None]
    ) -> None:
        """Read the header of a connection that came from ``peer``, then call ``done``."""
        address = ipaddress.ip_address(peer)
        if self._believed and not any(address in network for network in self._believed):
            sock.close()
            return
        HeaderReader(sock, done, self._wheel, self._timeout, self._lobby)
