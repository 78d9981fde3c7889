"""Reads the PROXY header of a connection that comes through a proxy.

Exactly the bytes of the header are read from the raw socket. The bytes after it (a TLS handshake)
stay in the socket for the transport. A connection without a valid header is dropped without an
answer.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from typing import Final

from fastrelay.config.settings import Network
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.accepted import AcceptedSocket
from fastrelay.policy.pending import PendingConnections
from fastrelay.protocol.proxy_v2 import (
    ADDRESS_BYTES,
    FIXED_BYTES,
    BadHeader,
    Fault,
    check_start,
    length_of,
    source_of,
)

_KEPT_BYTES: Final = FIXED_BYTES + ADDRESS_BYTES
"""What is kept of a header. The TLVs behind it are read and dropped."""

_READ_BYTES: Final = 4096
"""How many bytes of TLVs are read at once."""

Refused = Callable[[str, Fault], None]
"""Told the address of the peer whose connection was dropped, and why."""


class HeaderReader:
    """Reads the header of one connection.

    Args:
        done: called with the socket and the client's address when the header is complete.
        refused: called if it is not valid, or does not come.
    """

    __slots__ = (
        "_done",
        "_header",
        "_left",
        "_loop",
        "_peer",
        "_pending",
        "_refused",
        "_sock",
        "_wheel",
        "wheel_tick",
    )

    def __init__(
        self,
        sock: AcceptedSocket,
        peer: str,
        done: Callable[[AcceptedSocket, str], None],
        refused: Refused,
        wheel: TimerWheel,
        timeout: float,
        pending: PendingConnections,
    ) -> None:
        self._sock = sock
        self._peer = peer
        self._done = done
        self._refused = refused
        self._wheel = wheel
        self._pending = pending
        self._loop = asyncio.get_running_loop()
        self._header = b""
        self._left = FIXED_BYTES  # until the length of the header is known
        self.wheel_tick = 0
        wheel.after(self, timeout)
        pending.add(self, peer)
        self._loop.add_reader(sock, self._read)

    def _read(self) -> None:
        try:
            data = self._sock.recv(min(self._left, _READ_BYTES))
            if not data:
                self._refuse(Fault.CLOSED)
                return
            self._take(data)
        except (BlockingIOError, InterruptedError):
            pass
        except BadHeader as bad:
            self._refuse(bad.fault)
        except OSError:
            self._refuse(Fault.CLOSED)

    def _take(self, data: bytes) -> None:
        """Take the next bytes of the header.

        Raises:
            BadHeader: they are not valid.
        """
        before = len(self._header)
        self._left -= len(data)
        self._header += data[: _KEPT_BYTES - before]
        if before < FIXED_BYTES:
            check_start(self._header)
            if len(self._header) == FIXED_BYTES:
                self._left = length_of(self._header) - FIXED_BYTES
        if not self._left:
            client = source_of(self._header)
            self._leave()
            self._done(self._sock, self._peer if client is None else client)

    def on_timer(self) -> None:
        """The header did not come in time."""
        self._refuse(Fault.TIMEOUT)

    def _refuse(self, fault: Fault) -> None:
        self.abort()
        self._refused(self._peer, fault)

    def abort(self) -> None:
        """Drop the connection without an answer."""
        self._leave()
        self._sock.drop()

    def _leave(self) -> None:
        self._wheel.cancel(self)
        self._pending.discard(self)
        self._loop.remove_reader(self._sock)


class ProxyHeaders:
    """Reads the PROXY headers of a listener's connections; see :class:`Prelude` in ``listener``.

    Args:
        believed: the networks of trusted proxies; connections from other addresses are dropped.
            Empty: every address is trusted.
        refused: called for each connection that is dropped because of its header or its peer.
        timeout: seconds from the accept to a complete header.
        pending: counts connections while their header is read.
    """

    def __init__(
        self,
        believed: Sequence[Network],
        refused: Refused,
        wheel: TimerWheel,
        timeout: float,
        pending: PendingConnections,
    ) -> None:
        self._believed = believed
        self._refused = refused
        self._wheel = wheel
        self._timeout = timeout
        self._pending = pending

    def read(
        self, sock: AcceptedSocket, peer: str, done: Callable[[AcceptedSocket, str], None]
    ) -> None:
        """Read the header of a connection that came from ``peer``, then call ``done``."""
        address = ipaddress.ip_address(peer)
        if self._believed and not any(address in network for network in self._believed):
            sock.drop()
            self._refused(peer, Fault.NOT_BELIEVED)
            return
        HeaderReader(sock, peer, done, self._refused, self._wheel, self._timeout, self._pending)
