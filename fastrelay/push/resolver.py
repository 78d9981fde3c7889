"""Name lookups that several calls share, and that do not delay the end of the process."""

import asyncio

from fastrelay.loop.daemon_thread import in_daemon_thread
from fastrelay.net.outgoing.addresses import AddressInfo, look_up


class LookupFailed(Exception):
    """The host has no address, or its name cannot be one."""


class Resolver:
    """Resolves names with the system's resolver, each in a daemon thread.

    A lookup cannot be cancelled, and without an answer from the name server it takes many seconds.
    All calls that want the same name at the same time share one lookup, so there are at most a few
    threads.
    """

    def __init__(self) -> None:
        self._lookups: dict[tuple[str, int], asyncio.Future[list[AddressInfo]]] = {}

    async def resolve(self, host: str, port: int) -> list[AddressInfo]:
        """The addresses of ``host``.

        Raises:
            LookupFailed: there is none.
        """
        key = host, port
        if key not in self._lookups:
            self._lookups[key] = in_daemon_thread(lambda: look_up(host, port))
            self._lookups[key].add_done_callback(lambda ended: self._ended(key, ended))
        try:
            # A caller that is cancelled must not cancel the lookup for the others.
            return await asyncio.shield(self._lookups[key])
        except OSError as error:
            raise LookupFailed(str(error)) from None

    def _ended(self, key: tuple[str, int], lookup: asyncio.Future[list[AddressInfo]]) -> None:
        del self._lookups[key]
        lookup.exception()  # all who waited may have been cancelled; then it is not reported
