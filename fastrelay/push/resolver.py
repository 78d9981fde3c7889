"""Name lookups that do not delay the end of the process."""

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult


class DaemonResolver(AbstractResolver):
    """Resolves names with the system's resolver, each in a daemon thread.

    A lookup cannot be cancelled, and without an answer from the name server it takes many seconds.
    Lookups of the event loop itself run in its executor, which is waited for when the loop is
    closed, so a drain could miss its deadline. aiohttp shares one lookup among all connections to
    the same host, so there are at most a few threads.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of ``host``.

        Raises:
            OSError: the lookup failed, or ``host`` cannot be a host name.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def set_answer(found: list[ResolveResult] | OSError) -> None:
            if answer.done():
                return  # the caller was cancelled
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def look_up() -> None:
            found = _look_up(host, port, family)
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(set_answer, found)

        threading.Thread(target=look_up, name="push-resolver", daemon=True).start()
        return await answer

    async def close(self) -> None:
        """Do nothing: the resolver holds no resources."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult] | OSError:
    try:
        infos: list[Any] = socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    except OSError as error:
        return error
    except UnicodeError:  # IDNA: a label is empty or too long
        return OSError("not a host name")
    return [
        ResolveResult(
            hostname=host,
            host=address[0],
            port=address[1],
            family=found_family,
            proto=proto,
            flags=socket.AI_NUMERICHOST,
        )
        for found_family, _, proto, _, address in infos
    ]
