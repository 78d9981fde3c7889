"""One HTTPS connection to another server, used by one thread at a time."""

import http.client
import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastrelay.net.outgoing.addresses import AddressInfo, connect
from fastrelay.net.outgoing.allowance import Allowance
from fastrelay.net.outgoing.tls_stream import TlsStream


class Answer(NamedTuple):
    """A response: its status, its fields, and the beginning of its body."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


class ConnectFailed(OSError):
    """No connection could be made. ``__cause__`` has the reason."""


class CallBroken(OSError):
    """The connection ended within the answer, or what came is no answer of HTTP/1.1."""


class HttpsConnection:
    """A connection that is made at the first call, and that later calls use again.

    Redirects are returned and not followed. All answers are asked for uncompressed.

    Args:
        host, port: the server.
        context: verifies it.
    """

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self._host = host
        self._http = http.client.HTTPConnection(host, port)
        self._http.default_port = 443  # which the Host field does not name
        self._context = context
        self._stream: TlsStream | None = None
        self._state = threading.Lock()
        self._calling = False
        self._given_up = False

    def call(
        self,
        addresses: Sequence[AddressInfo],
        allowance: Allowance,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        most: int,
    ) -> Answer:
        """Send a request and read the answer, at most ``most`` bytes of its body.

        Args:
            addresses: of the host; not used if there is a connection already.

        Raises:
            TimeoutError: the deadline has passed.
            ConnectFailed, ssl.SSLError, CallBroken, OSError: there was no complete answer.
        """
        with self._state:
            self._calling = True
        reusable = False
        try:
            with allowance.turn():
                self._prepare(addresses, allowance)
                answer, reusable = self._exchange(method, target, headers, body, most)
                return answer
        except TimeoutError:  # the socket's own says less
            raise TimeoutError("the answer was not complete in time") from None
        except ssl.SSLError:
            raise  # a certificate that is refused is a ValueError as well
        except (http.client.HTTPException, ValueError) as error:
            # http.client raises ValueError for some chunk sizes.
            raise CallBroken(f"{type(error).__name__}: {error}") from None
        finally:
            with self._state:
                self._calling = False
                if self._given_up or not reusable:
                    self._close()

    def _prepare(self, addresses: Sequence[AddressInfo], allowance: Allowance) -> None:
        if self._stream is not None:
            self._stream.allowance = allowance
            return
        try:
            sock = connect(addresses, allowance)
            self._stream = TlsStream(sock, self._context, self._host, allowance)
            self._stream.handshake()
        except (TimeoutError, ssl.SSLError):
            raise
        except OSError as error:
            raise ConnectFailed(str(error)) from error
        connected: Any = self._stream  # http.client only uses the methods that it has
        self._http.sock = connected

    def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, most: int
    ) -> tuple[Answer, bool]:
        """The answer, and whether the connection can be used again."""
        self._http.request(method, target, body, dict(headers))
        with self._http.getresponse() as response:
            if self._stream is None or self._stream.at_end:
                raise CallBroken("the head is incomplete")  # which http.client takes for complete
            content = response.read(most)
            if response.length and len(content) < most:
                raise CallBroken("the body is incomplete")
            reusable = response.isclosed() and not response.will_close
            return Answer(response.status, response.getheaders(), content), reusable

    @property
    def is_open(self) -> bool:
        """Whether a next call would find the connection as the last one left it."""
        return self._stream is not None and self._stream.is_quiet()

    def give_up(self) -> None:
        """Close the connection; a call in another thread fails soon."""
        with self._state:
            self._given_up = True
            if not self._calling:
                self._close()
            elif self._stream is not None:
                self._stream.shut_down()

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.end()
            self._stream = None
        self._http.close()
