"""The listeners of one relay: for the public, for metrics, and for the CA's challenges.

Sockets and routes come from the relay. TLS, PROXY protocol and trusted proxies come from the
settings.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from functools import partial

from fastrelay.acme.responder import ChallengeResponder
from fastrelay.config.settings import Acme, Renewed, Settings
from fastrelay.http.client_address import forwarded_for, socket_peer
from fastrelay.http.connection import HttpProtocol, Route, Site, any_host
from fastrelay.http.exchange import Exchange
from fastrelay.log import Log
from fastrelay.loop.fair_reads import FairScheduler
from fastrelay.loop.newcomers import Newcomers
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.bound_sockets import BoundSockets
from fastrelay.net.listener import Listener, Prelude, ProtocolFactory
from fastrelay.net.proxy_header import ProxyHeaders
from fastrelay.net.tls.buffers import TlsBuffers
from fastrelay.net.tls.certificates import Certificates
from fastrelay.net.tls.layer import TlsLayer
from fastrelay.policy.counters import Counters
from fastrelay.policy.counters.refused import HandshakeFault
from fastrelay.policy.pending import PendingConnections
from fastrelay.policy.plain_requests import PlainRequests
from fastrelay.protocol.proxy_v2 import Fault
from fastrelay.server.certificate_source import CertificateSource, make_source
from fastrelay.server.routes import ENDPOINTS
from fastrelay.server.served_hosts import no_foreign_name, only_domain


class Listeners:
    """The listeners of one relay, and its certificate.

    Args:
        pending: counts the connections of the public listener until they are upgraded or end. Each
            other listener has a count of its own, so one listener cannot use up another's.
        scheduler: schedules the connections that send more than their share.
        newcomers: schedules when connections are accepted and heads are read.
        plain: the rate limit of plain requests and TLS handshakes.
        counters: where dropped connections are counted.
        on_failure: called when the socket of a listener breaks.

    Attributes:
        certificates: the certificate in use; empty without TLS.

    Raises:
        ConfigurationError: the certificate cache cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        wheel: TimerWheel,
        pending: PendingConnections,
        scheduler: FairScheduler,
        newcomers: Newcomers,
        plain: PlainRequests,
        log: Log,
        on_failure: Callable[[], None],
        counters: Counters | None = None,
    ) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._wheel = wheel
        self._pending = pending
        self._newcomers = newcomers
        self._plain = plain
        self._counters = counters or Counters()
        self._all_pending = [pending]
        self._log = log
        self._on_failure = on_failure
        self._listeners: list[Listener] = []
        self._closed: list[Listener] = []
        self._listen_publicly: Callable[[socket.socket], Listener]
        self.certificates = Certificates()
        self._responder = ChallengeResponder()
        self._source: CertificateSource | None = None
        if settings.tls is not None:
            self._source = make_source(
                settings.tls,
                self.certificates,
                self._responder,
                wheel,
                settings.intervals,
                log,
            )

    @property
    def ports(self) -> list[int]:
        """The ports of the listeners: public, metrics, challenges; absent ones are left out."""
        return [listener.port for listener in self._listeners]

    def open(
        self,
        sockets: BoundSockets,
        public: Mapping[str, Route],
        metrics: Mapping[str, Route],
        before_metrics: Prelude | None = None,
    ) -> None:
        """Begin to serve on the given sockets, which belong to the listeners from now on.

        Args:
            before_metrics: what connections of the metrics listener wait for.

        Raises:
            UnusableCertificate: the sockets are closed again.
        """
        if sockets.public is not None:
            self._listen_publicly = partial(
                self._listen,
                make_protocol=self._public_factory(public),
                prelude=self._make_prelude(),
            )
            self._listen_publicly(sockets.public)
        for sock, routes, is_for_us, prelude in (
            (sockets.metrics, metrics, no_foreign_name, before_metrics),
            (sockets.challenges, self._responder, any_host, None),
        ):
            if sock is not None:
                site = self._site(routes, self._side_pending(), is_for_us)
                self._listen(sock, self._http_factory(site), prelude)
        try:
            if self._source is not None:
                self._source.start()
        except (OSError, ValueError):
            self.stop_accepting()
            raise

    def add_public(self, sock: socket.socket) -> Listener:
        """Serve the public routes on one more socket, which belongs to the listeners.

        Returns its listener, for :meth:`remove_public`.
        """
        return self._listen_publicly(sock)

    def remove_public(self, listener: Listener) -> None:
        """Close a listener of :meth:`add_public`."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            listener.close()

    def reload(self) -> None:
        """Look for another certificate now."""
        if self._source is not None:
            self._source.reload()

    async def close(self) -> None:
        """Accept no more, and drop pending connections; the certificate stays in use."""
        self._drop_pending()
        self.stop_accepting()
        for listener in self._closed:
            await listener.opened()
        self._drop_pending()

    async def stop(self) -> None:
        """Close the listeners, and stop looking for certificates."""
        await self.close()
        if self._source is not None:
            await self._source.stop()

    @property
    def pending(self) -> int:
        """The connections that are not upgraded yet, of all listeners."""
        return sum(map(len, self._all_pending))

    def _side_pending(self) -> PendingConnections:
        pending = PendingConnections(self._settings.limits.side_handshakes, self._counters.tallies)
        self._all_pending.append(pending)
        return pending

    def _drop_pending(self) -> None:
        for pending in self._all_pending:
            pending.drop_all()

    def stop_accepting(self) -> None:
        """Close the listening sockets."""
        for listener in self._listeners:
            listener.close()
        self._closed += self._listeners
        self._listeners = []

    def _listen(
        self, sock: socket.socket, make_protocol: ProtocolFactory, prelude: Prelude | None = None
    ) -> Listener:
        loop = asyncio.get_running_loop()
        listener = Listener(
            *(sock, make_protocol, loop, self._log, self._newcomers, self._on_failure, prelude)
        )
        self._listeners.append(listener)
        return listener

    def _make_prelude(self) -> Prelude | None:
        settings = self._settings
        if settings.proxy_headers is None:
            return None
        return ProxyHeaders(
            settings.proxy_headers,
            self._proxy_header_refused,
            self._wheel,
            settings.intervals.proxy_header,
            self._pending,
        )

    def _proxy_header_refused(self, peer: str, fault: Fault) -> None:
        self._counters.refused.proxy_headers.add(fault)
        why = fault.value
        if fault is Fault.CLOSED:  # a health check that only opens a connection is no fault
            self._log.limited("proxy_header_refused", level="debug", remote=peer, err=why)
        else:
            self._log.limited("proxy_header_refused", remote=peer, err=why)

    def _public_factory(self, routes: Mapping[str, Route]) -> ProtocolFactory:
        tls = self._settings.tls
        is_for_us = only_domain(tls.domain) if isinstance(tls, Acme | Renewed) else any_host
        factory = self._http_factory(self._site(routes, self._pending, is_for_us))
        return factory if tls is None else self._tls_factory(factory)

    def _http_factory(self, site: Site) -> ProtocolFactory:
        return lambda client, sock: HttpProtocol(site, client, sock)

    def _tls_factory(self, inner: ProtocolFactory) -> ProtocolFactory:
        buffers = TlsBuffers(
            self._wheel,
            self._settings.intervals.tls_stall,
            self._newcomers,
            self._plain.may_shake_hands,
            self._handshake_failed,
            self._scheduler,
        )
        return lambda client, sock: TlsLayer(
            inner(client, sock), self.certificates, buffers, client
        )

    def _handshake_failed(self, client: str, fault: HandshakeFault) -> None:
        self._counters.refused.handshakes.add(fault)
        self._log.limited("tls_handshake_failed", level="debug", remote=client, err=fault.value)

    def _site(
        self,
        routes: Mapping[str, Route],
        pending: PendingConnections,
        is_for_us: Callable[[Exchange], bool],
    ) -> Site:
        settings, trusted = self._settings, self._settings.trusted_proxies
        return Site(
            routes,
            socket_peer if trusted is None else forwarded_for(trusted),
            self._wheel,
            self._newcomers,
            settings.limits.head_bytes,
            settings.intervals.head,
            settings.intervals.linger,
            pending,
            frozenset(ENDPOINTS & routes.keys()),
            self._plain.request_wait,
            is_for_us,
        )
