"""The HTTP client that the ACME library uses. It limits the time and bytes of every response.

A CA is verified by its certificate but not trusted with the relay's time or memory. One order, with
all its requests, has one deadline; each request has a shorter one of its own, from the name lookup
to the last byte; each response may have :data:`MAX_RESPONSE_BYTES`.
"""

import io
import ssl
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from acme import client, messages
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from fastrelay import __version__
from fastrelay.net.outgoing.addresses import look_up
from fastrelay.net.outgoing.allowance import Allowance, TooMuchReceived
from fastrelay.net.outgoing.https_connection import HttpsConnection

REQUEST_TIMEOUT: Final = 10.0
"""Seconds one request to the CA may take."""

MAX_RESPONSE_BYTES: Final = 64 * 1024
"""The bytes that one request receives at most, TLS included. The longest response that a CA needs
is a chain of certificates, some 5,000 bytes. Parsing one this long takes about 2 ms."""

MAX_REQUESTS: Final = 300
"""The requests of one order. Polling once a second for 90 s, with nonces, makes about 200."""

_NONCE_ATTEMPTS: Final = 6
"""How often a request is sent at most if the CA refuses every nonce (RFC 8555 §6.5)."""


_REFUSALS: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def retry_after(text: str) -> float:
    """The seconds in a ``Retry-After`` (RFC 9110 §10.2.3); 0.0 if the header is not valid."""
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError, TypeError):
        return 0.0


class Cancelled(Exception):
    """The call was given up because the relay stops."""


class Budget:
    """The limits on all requests of one order together.

    Args:
        seconds: until the deadline of the order.
        cancelled: set when the order is to be given up.

    Attributes:
        retry_after: the seconds for which the CA's last refusal asked to wait; 0.0 if none did.
    """

    def __init__(self, seconds: float, cancelled: threading.Event) -> None:
        self._deadline = time.monotonic() + seconds
        self._cancelled = cancelled
        self._requests = MAX_REQUESTS
        self.retry_after = 0.0

    def note_wait(self, seconds: float) -> None:
        """Store the time for which the CA asked to wait."""
        self.retry_after = seconds

    def remaining(self) -> float:
        """The seconds until the deadline; may be negative."""
        return self._deadline - time.monotonic()

    def next_request(self, timeout: float) -> Allowance:
        """The limits of the next request.

        Raises:
            Cancelled: the order is to be given up.
            OSError: the order has had all the time, or all the requests, that it may have.
        """
        if self._cancelled.is_set():
            raise Cancelled
        if self.remaining() <= 0:
            raise TimeoutError("the CA did not finish in time")
        self._requests -= 1
        if self._requests < 0:
            raise TooMuchReceived("the CA wants too many requests")
        return Allowance(min(timeout, self.remaining()), MAX_RESPONSE_BYTES)


class BoundedAdapter(requests.adapters.BaseAdapter):
    """Sends the requests of the library ``requests``, each on a connection of its own.

    Args:
        allow: returns the limits of the next request, or raises.
        note_wait: called with the seconds in the ``Retry-After`` of each refusal.
    """

    def __init__(
        self, allow: Callable[[], Allowance], note_wait: Callable[[float], None] = lambda wait: None
    ) -> None:
        super().__init__()
        self._allow = allow
        self._note_wait = note_wait
        self._context: ssl.SSLContext | None = None

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> Any:
        """Send a request and return the whole response; ``stream`` and ``proxies`` do nothing."""
        allowance = self._allow()
        url = urlsplit(str(request.url))
        host, port = url.hostname or "", url.port or 443
        # A compressed body could expand to any size, so none is asked for, and none is decoded.
        headers: dict[str, Any] = {**request.headers, "Accept-Encoding": "identity"}
        body: Any = request.body
        connection = HttpsConnection(host, port, self._tls(options["verify"]))
        try:
            answer = connection.call(
                look_up(host, port),
                allowance,
                str(request.method),
                request.path_url,
                headers,
                body.encode() if isinstance(body, str) else body,
                MAX_RESPONSE_BYTES,
            )
        finally:
            connection.give_up()
        response = requests.Response()
        response.request, response.url = request, str(request.url)
        response.status_code = answer.status
        response.headers = requests.structures.CaseInsensitiveDict(answer.headers)
        response.raw = io.BytesIO(answer.body)
        if answer.status in _REFUSALS:
            self._note_wait(retry_after(response.headers.get("Retry-After", "")))
        return response

    def _tls(self, verify: str | bool) -> ssl.SSLContext:
        if self._context is not None:
            return self._context
        authorities = verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
        context = ssl.create_default_context(cafile=authorities)
        context.set_alpn_protocols(["http/1.1"])
        self._context = context  # each order has an adapter of its own, with one CA file
        return context

    def close(self) -> None:
        """Do nothing: no connection outlives its request."""


class BoundedNetwork(client.ClientNetwork):
    """The library's HTTP client, with bounds, and with more retries after a bad nonce."""

    def __init__(
        self, key: JWKEC, ca_file: str | None, budget: Budget, timeout: float = REQUEST_TIMEOUT
    ) -> None:
        super().__init__(key, alg=ES256, user_agent=f"fastrelay/{__version__}")
        if ca_file is not None:
            # requests accepts a path here as well, but the library annotates it as a bool.
            self.verify_ssl = ca_file  # type: ignore[assignment]
        # Not proxies, credentials and CA certificates that variables and ~/.netrc name.
        self.session.trust_env = False
        # A redirect to a URL that is not https finds no adapter and fails.
        self.session.adapters.clear()
        adapter = BoundedAdapter(lambda: budget.next_request(timeout), budget.note_wait)
        self.session.mount("https://", adapter)

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(_NONCE_ATTEMPTS - 1):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return self._post_once(*args, **kwargs)
