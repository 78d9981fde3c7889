"""One pair of memory BIOs and buffers for all TLS connections, against a set for each.

Found: 299 KB an idle connection instead of 17; of that 272 are our two buffers.
"""

from bench.compare.plan import SMALL
from fastrelay.net.listener import ProtocolFactory
from fastrelay.net.tls.buffers import TlsBuffers
from fastrelay.net.tls.layer import TlsLayer
from fastrelay.server.listeners import Listeners

CONTENDER = "fastrelay tls"
LOADS = (SMALL,)
IDLE = True


def change() -> None:
    """Make the buffers with the connection."""

    def speak(self: Listeners, inner: ProtocolFactory) -> ProtocolFactory:
        return lambda client, sock: TlsLayer(
            inner(client, sock),
            self.certificates,
            TlsBuffers(
                self._wheel,
                self._settings.intervals.tls_stall,
                self._newcomers,
                self._plain.may_shake_hands,
                self._handshake_failed,
            ),
            client,
        )

    Listeners._tls_factory = speak  # type: ignore[method-assign]
