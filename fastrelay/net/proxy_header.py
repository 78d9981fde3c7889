"""Reads the PROXY header of a connection that comes through a proxy.

Exactly the bytes of the header are read from the raw socket, so that what follows it (a TLS
handshake) is left for the transport. A connection without a valid header is dropped unanswered.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence

from fastrelay.config.settings import Network
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.policy.pending import PendingConnections
from fastrelay.protocol.proxy_v2 import FIXED_BYTES, BadHeader, length_of, source_of


class HeaderReader:
    """Reads the header of one connection.

    Args:
        done: called with the socket and the client's address when the header is complete.
    """

    __slots__ = ("_done", "_header", "_loop", "_pending", "_sock", "_wheel", "wheel_tick")

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        done: Callable[[socket.socket, str], None],
        wheel: TimerWheel,
        timeout: float,
        pending: PendingConnections,
    ) -> None:
        self._sock = sock
        self._done = done
        self._wheel = wheel
        self._pending = pending
        self._loop = asyncio.get_running_loop()
        self._header = b""
        self.wheel_tick = 0
        wheel.after(self, timeout)
        pending.add(self, peer)
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
        """Drop the connection without an answer."""
        self._leave()
        self._sock.close()

    def _leave(self) -> None:
        self._wheel.cancel(self)
        self._pending.discard(self)
        self._loop.remove_reader(self._sock)


class ProxyHeaders:
    """Reads the PROXY headers of a listener's connections; see :class:`Prelude` in ``listener``.

    Args:
        believed: the networks of trusted proxies; connections from other addresses are dropped.
            Empty: any address is trusted.
        timeout: seconds from the accept to a complete header.
        pending: counts connections while their header is read.
    """

    def __init__(
        self,
        believed: Sequence[Network],
        wheel: TimerWheel,
        timeout: float,
        pending: PendingConnections,
    ) -> None:
        self._believed = believed
        self._wheel = wheel
        self._timeout = timeout
        self._pending = pending

    def read(
        self, sock: socket.socket, peer: str, done: Callable[[socket.socket, str], None]
    ) -> None:
        """Read the header of a connection that came from ``peer``, then call ``done``."""
        address = ipaddress.ip_address(peer)
        if self._believed and not any(address in network for network in self._believed):
            sock.close()
            return
        HeaderReader(sock, peer, done, self._wheel, self._timeout, self._pending)
