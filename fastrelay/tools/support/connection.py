"""Connects to a server over TCP or TLS, and explains failures with a hint for the user."""

import asyncio
import contextlib
import socket
import ssl
from typing import Any, Final

from fastrelay.loop.daemon_thread import in_daemon_thread
from fastrelay.tools.support.endpoint import Endpoint
from fastrelay.tools.support.printable import printable

_HINT_OF_NAMES: Final = (
    "use the name that the certificate is for; probe --connect-to dials an address under it"
)
_HINT_OF_AUTHORITY: Final = "--ca-file FILE trusts a private CA"
_HINT_OF_CHAIN: Final = (
    "let the server send the whole chain (fullchain.pem), with the CA's intermediate certificates;"
    f" {_HINT_OF_AUTHORITY}"
)
_HINTS_OF_VERIFICATION: Final = {
    10: "the certificate has expired: renew it, or look at the clock of this machine",
    20: _HINT_OF_CHAIN,
    21: _HINT_OF_CHAIN,
    62: _HINT_OF_NAMES,
    64: _HINT_OF_NAMES,
}
"""By OpenSSL's number: the certificate expired; its issuer is not known, twice; it is for another
host name; another address."""

_AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""What ``socket.getaddrinfo`` returns for each address."""


class Unexpected(Exception):
    """The server did something else than what was expected.

    Attributes:
        got: what the server did, in printable ASCII.
        hint: what the user can do about it; may be empty.
    """

    def __init__(self, got: str, hint: str = "") -> None:
        self.got, self.hint = printable(got), printable(hint)
        super().__init__(self.got)


async def connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address of the host that accepts a connection.

    Raises:
        Unexpected: TLS failed.
        OSError: no address accepted a connection; the error of the last one.
    """
    sock = await _connect_tcp(*(endpoint.dial or (endpoint.host, endpoint.port)))
    if endpoint.tls is None:
        return await asyncio.open_connection(sock=sock)
    plain = f"{endpoint.plain_scheme}://"
    try:
        return await asyncio.open_connection(
            sock=sock, ssl=endpoint.tls, server_hostname=endpoint.host
        )
    except ssl.SSLCertVerificationError as error:
        hint = _HINTS_OF_VERIFICATION.get(error.verify_code, _HINT_OF_AUTHORITY)
        raise Unexpected(
            f"a certificate that is not trusted: {error.verify_message}", hint
        ) from None
    except ssl.SSLError as error:
        hint = f"if it serves plain HTTP there, use {plain}"
        raise Unexpected(f"no TLS: {error.reason or 'what came is no handshake'}", hint) from None
    except ConnectionError:
        hint = f"if it serves plain HTTP there, use {plain}; else look at the server's log"
        raise Unexpected("the end of the connection within the TLS handshake", hint) from None


async def _connect_tcp(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await _look_up(host, port):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _look_up(host: str, port: int) -> asyncio.Future[list[_AddressInfo]]:
    # The loop's own lookup is in a thread for which the end of the program waits: a name server
    # that does not answer would delay it by many seconds.
    def call() -> list[_AddressInfo]:
        try:
            return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except UnicodeError:
            raise OSError("it cannot be a host name") from None

    return in_daemon_thread(call)


def describe(error: OSError) -> str:
    """What a failed connection means."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(error, socket.gaierror):
        return f"no address for that host: {error.strerror}"
    return error.strerror or str(error) or type(error).__name__


async def drop(writer: asyncio.StreamWriter) -> None:
    """Abort a connection in any state."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
