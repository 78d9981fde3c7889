"""One relay: puts the parts together, starts them, and stops them again."""

import asyncio
from collections.abc import Mapping
from functools import partial

from fastrelay.doorway import Doorway
from fastrelay.http.client_address import forwarded_for, socket_peer
from fastrelay.http.healthz import healthz
from fastrelay.http.metrics_page import metrics_page
from fastrelay.http.protocol import HttpProtocol, Route, Site
from fastrelay.limits.caps import LiveConnections, Lobby
from fastrelay.limits.token_bucket import TokenBuckets
from fastrelay.log import Log
from fastrelay.metrics import Metrics
from fastrelay.metrics.connections import expose_connections
from fastrelay.net.listener import Listener, bind
from fastrelay.push.waker import make_waker
from fastrelay.routing.binary import Binary
from fastrelay.routing.phone import Phone
from fastrelay.routing.registry import Registry
from fastrelay.routing.switchboard import Switchboard
from fastrelay.settings import Settings
from fastrelay.timers import Every, TimerWheel
from fastrelay.websocket.close_codes import SHUTTING_DOWN
from fastrelay.websocket.connection import Conditions, Connection


class Relay:
    """A relay in the running loop.

    :meth:`start` binds and serves; :meth:`drain` says goodbye to everybody; :meth:`stop` drops
    whatever is left, and nothing of the relay outlives it.

    Args:
        settings: see :class:`Settings`.
        log: where events go.
        metrics: where events are counted; served when ``settings.metrics_listen`` is set.

    Attributes:
        registry, board, waker, live, lobby, wheel, chores: the relay's state, each in its one
            place; for looking at.
    """

    def __init__(self, settings: Settings, log: Log, metrics: Metrics) -> None:
        self._settings = settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._metrics = metrics
        self.wheel = TimerWheel(self._loop, settings.intervals.tick)
        self.lobby = Lobby(settings.limits.handshakes)
        limits = settings.limits
        self.live: LiveConnections[Connection] = LiveConnections(
            limits.connections, limits.connections_per_ip
        )
        self.registry: Registry[Binary, Phone] = Registry(limits.phones)
        self._buckets = (
            TokenBuckets(
                limits.upgrade_burst, limits.upgrade_refill, limits.buckets, self._loop.time
            )
            if limits.upgrade_burst
            else None
        )
        self.waker = make_waker(settings, metrics.registry, log)
        self.board = Switchboard(
            self.registry, self.wheel, settings.intervals, limits, metrics, self.waker, log
        )
        self._listeners: list[Listener] = []
        self.chores: list[Every] = []

    @property
    def ports(self) -> list[int]:
        """The ports listened on: the public one, then that of the metrics if they are served."""
        return [listener.port for listener in self._listeners]

    def start(self) -> None:
        """Bind and begin to serve.

        Raises:
            OSError: an address cannot be bound; nothing is left open.
        """
        self._expose_registry()
        self._listen(self._routes())
        intervals = self._settings.intervals
        self.chores.append(Every(self.wheel, intervals.log_flood, self._log.flush))
        if self._buckets is not None:
            self.chores.append(Every(self.wheel, intervals.bucket_sweep, self._buckets.sweep))
        self.chores.append(Every(self.wheel, intervals.bucket_sweep, self.waker.sweep))

    def _expose_registry(self) -> None:
        expose_connections(
            self._metrics.registry,
            lambda: self.registry.connected_binaries,
            lambda: self.registry.connected_phones,
        )

    def _routes(self) -> dict[str, Route]:
        settings, started = self._settings, self._loop.time()
        conditions = Conditions(
            self.wheel, settings.intervals, settings.limits.message_bytes, self.live
        )
        doorway = Doorway(
            self.board, conditions, self.live, self._buckets, self._metrics.upgrades, self._log
        )
        health = healthz(
            lambda: self.registry.connected_binaries,
            lambda: self.registry.connected_phones,
            lambda: self._loop.time() - started,
        )
        return {**doorway.routes(), "/healthz": health}

    def _listen(self, routes: Mapping[str, Route]) -> None:
        wanted = [(self._settings.listen, routes)]
        if self._settings.metrics_listen is not None:
            page = {"/metrics": metrics_page(self._metrics.registry)}
            wanted.append((self._settings.metrics_listen, page))
        try:
            for address, served in wanted:
                make_protocol = partial(HttpProtocol, self._site(served))
                self._listeners.append(
                    Listener(bind(address), make_protocol, self._loop, self._log)
                )
        except OSError:
            while self._listeners:
                self._listeners.pop().close()
            raise

    def _site(self, routes: Mapping[str, Route]) -> Site:
        settings, trusted = self._settings, self._settings.trusted_proxies
        return Site(
            routes,
            socket_peer if trusted is None else forwarded_for(trusted),
            self.wheel,
            settings.limits.head_bytes,
            settings.intervals.head,
            settings.intervals.linger,
            self.lobby,
        )

    async def _stop_listening(self) -> None:
        while self._listeners:
            listener = self._listeners.pop()
            listener.close()
            await listener.opened()
        self.lobby.drop_all()

    async def drain(self) -> None:
        """Stop accepting, close everybody with 1001, and wait until they and all wakes have gone.

        Returns when nothing is left or the drain interval is over, whichever is first.
        """
        await self._stop_listening()
        for connection in self.live:
            connection.close(SHUTTING_DOWN)
        deadline = self._loop.time() + self._settings.intervals.drain
        while (len(self.live) or self.waker.in_flight) and self._loop.time() < deadline:
            await asyncio.sleep(self._settings.intervals.tick)

    async def stop(self) -> None:
        """Drop whatever is left, at once."""
        await self._stop_listening()
        for connection in self.live:
            connection.abort()
        while len(self.live) or len(self.lobby):
            await asyncio.sleep(0)
        await self.waker.stop()
        for chore in self.chores:
            chore.cancel()
        self.wheel.close()
        self._log.flush(final=True)
