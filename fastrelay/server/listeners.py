"""Every way into one relay: the public listener, the CA's challenges, the metrics.

What is served is told from where and how: routes come from the relay, addresses, TLS, PROXY headers
and whom to believe from the settings.
"""

import asyncio
from collections.abc import Callable, Mapping

from fastrelay.acme.responder import ChallengeResponder
from fastrelay.config.settings import Acme, Address, Settings
from fastrelay.http.client_address import forwarded_for, socket_peer
from fastrelay.http.connection import HttpProtocol, Route, Site
from fastrelay.log import Log
from fastrelay.loop.timer_wheel import TimerWheel
from fastrelay.net.listener import Listener, Prelude, bind
from fastrelay.net.proxy_header import ProxyHeaders
from fastrelay.net.tls.certificates import Certificates
from fastrelay.net.tls.layer import TlsBuffers, TlsLayer
from fastrelay.policy.caps import PendingConnections
from fastrelay.server.certificate_source import CertificateSource, make_source


class Listeners:
    """The listeners of one relay, and the certificate it shows.

    Args:
        pending: where connections are counted until they are upgraded or end.
        on_failure: called when a listener breaks.

    Attributes:
        certificates: what is shown to clients; empty for ever without TLS.

    Raises:
        ConfigurationError: the certificate cache cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        wheel: TimerWheel,
        pending: PendingConnections,
        log: Log,
        on_failure: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._wheel = wheel
        self._pending = pending
        self._log = log
        self._on_failure = on_failure
        self._listeners: list[Listener] = []
        self.certificates = Certificates()
        self._responder = ChallengeResponder()
        self._source: CertificateSource | None = None
        if settings.tls is not None:
            self._source = make_source(
                *(settings.tls, self.certificates, self._responder),
                *(wheel, settings.intervals, log),
            )

    @property
    def ports(self) -> list[int]:
        """The ports listened on: the public one, that of the metrics, that of the challenges."""
        return [listener.port for listener in self._listeners]

    def open(self, public: Mapping[str, Route], metrics: Mapping[str, Route]) -> None:
        """Bind and begin to serve.

        Raises:
            OSError: an address cannot be bound; nothing is left open.
            UnusableCertificate: the same.
        """
        settings = self._settings
        try:
            self._open_public(public)
            if settings.metrics_listen is not None:
                self._listen(settings.metrics_listen, self._http_factory(self._site(metrics)))
            if isinstance(settings.tls, Acme):
                challenges = self._http_factory(self._site(self._responder))
                self._listen(settings.tls.http_listen, challenges)
            if self._source is not None:
                self._source.start()
        except (OSError, ValueError):
            self._close()
            raise

    def reload(self) -> None:
        """Look for another certificate."""
        if self._source is not None:
            self._source.reload()

    async def close(self) -> None:
        """Accept no more, and drop whoever is not upgraded; the certificate stays in use."""
        self._pending.drop_all()
        closed = self._close()
        for listener in closed:
            await listener.opened()
        self._pending.drop_all()

    async def stop(self) -> None:
        """Close, and look for certificates no more."""
        await self.close()
        if self._source is not None:
            await self._source.stop()

    def _close(self) -> list[Listener]:
        closed, self._listeners = self._listeners, []
        for listener in closed:
            listener.close()
        return closed

    def _open_public(self, routes: Mapping[str, Route]) -> None:
        settings = self._settings
        tls = settings.tls
        host = tls.domain.encode() if isinstance(tls, Acme) else None
        make_protocol = self._http_factory(self._site(routes, host))
        if tls is not None:
            make_protocol = self._tls_factory(make_protocol)
        prelude = None
        if settings.proxy_headers is not None:
            prelude = ProxyHeaders(
                settings.proxy_headers, self._wheel, settings.intervals.proxy_header, self._pending
            )
        self._listen(settings.listen, make_protocol, prelude)

    def _listen(
        self,
        address: Address,
        make_protocol: Callable[[str], asyncio.BaseProtocol],
        prelude: Prelude | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        sock = bind(address)
        self._listeners.append(
            Listener(sock, make_protocol, loop, self._log, self._on_failure, prelude)
        )

    def _http_factory(self, site: Site) -> Callable[[str], asyncio.BaseProtocol]:
        return lambda client: HttpProtocol(site, client)

    def _tls_factory(
        self, inner: Callable[[str], asyncio.BaseProtocol]
    ) -> Callable[[str], asyncio.BaseProtocol]:
        buffers = TlsBuffers(self._wheel, self._settings.intervals.tls_stall)
        return lambda client: TlsLayer(inner(client), self.certificates, buffers)

    def _site(self, routes: Mapping[str, Route], host: bytes | None = None) -> Site:
        settings, trusted = self._settings, self._settings.trusted_proxies
        return Site(
            routes,
            socket_peer if trusted is None else forwarded_for(trusted),
            self._wheel,
            asyncio.get_running_loop().call_soon,
            settings.limits.head_bytes,
            settings.intervals.head,
            settings.intervals.linger,
            self._pending,
            host,
        )
