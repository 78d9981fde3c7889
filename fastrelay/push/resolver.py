"""Name lookups that the process need not wait for when it ends."""

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult


class DaemonResolver(AbstractResolver):
    """Looks names up as the system does, each in a daemon thread.

    A lookup cannot be cancelled, and one that nobody answers takes the C library a good while. The
    loop's own lookups hold up its closing until then, and so a drain's deadline. aiohttp shares a
    lookup among all who connect to the same host, so there are never more than a few threads.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of ``host``; raises :class:`OSError` if it has none."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def set_answer(found: list[ResolveResult] | OSError) -> None:
            if answer.done():
                return  # nobody waits any more
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def look_up() -> None:
            found = _look_up(host, port, family)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(set_answer, found)

        threading.Thread(target=look_up, name="push-resolver", daemon=True).start()
        return await answer

    async def close(self) -> None:
        """Nothing is held."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult] | OSError:
    try:
        infos: list[Any] = socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    except OSError as error:
        return error
    except UnicodeError:  # a label too long for a name
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
