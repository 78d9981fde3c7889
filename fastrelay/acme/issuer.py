"""Orders certificates from an ACME CA (RFC 8555).

All calls block, so they run in a thread of their own. The protocol is implemented by certbot's
``acme`` library, which the extra ``fastrelay[acme]`` installs.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import requests
from acme import challenges, client, crypto_util, errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from fastrelay import __version__
from fastrelay.acme.cache import CertificateCache
from fastrelay.acme.responder import ChallengeResponder
from fastrelay.config.settings import Acme

Result = TypeVar("Result")

NETWORK_TIMEOUT: Final = 10
"""Seconds one request to the CA may take."""

_NONCE_ATTEMPTS: Final = 6
"""How often a request is sent at most if the CA refuses every nonce (RFC 8555 §6.5)."""


class IssuanceFailed(Exception):
    """The CA cannot be reached or refused. The text is one line that may be logged."""


class Cancelled(Exception):
    """The call was given up because the relay stops."""


class _Network(client.ClientNetwork):
    """The library's HTTP client, with more retries after a bad nonce, and with cancellation."""

    def __init__(self, key: JWKEC, ca_file: str | None, cancelled: threading.Event) -> None:
        super().__init__(
            key,
            alg=ES256,
            user_agent=f"fastrelay/{__version__}",
            timeout=NETWORK_TIMEOUT,
        )
        if ca_file is not None:
            # requests accepts a path here as well, but the library annotates it as a bool.
            self.verify_ssl = ca_file  # type: ignore[assignment]
        self._cancelled = cancelled

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(_NONCE_ATTEMPTS - 1):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return self._post_once(*args, **kwargs)

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        if self._cancelled.is_set():
            raise Cancelled
        return super()._send_request(method, url, *args, **kwargs)


class Issuer:
    """Orders certificates for one domain. Only one call may run at a time.

    Args:
        acme: the domain, the CA and the account's email address.
        cache: where the account key is stored.
        responder: answers the CA's challenges on port 80.
        timeout: the seconds that the CA may take to validate the domain and issue.
    """

    def __init__(
        self,
        acme: Acme,
        cache: CertificateCache,
        responder: ChallengeResponder,
        timeout: float,
    ) -> None:
        self._acme = acme
        self._cache = cache
        self._responder = responder
        self._timeout = timedelta(seconds=timeout)
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Make a call in another thread raise :class:`Cancelled` at its next request to the CA."""
        self._cancelled.set()

    def obtain(self) -> bytes:
        """Order a certificate; returns a new private key and the chain, as PEM.

        Raises:
            IssuanceFailed: the CA cannot be reached, or refused.
            Cancelled: :meth:`cancel` was called.
        """
        return self._with_ca(self._order)

    def suggested_renewal(self, pem: bytes) -> datetime | None:
        """When the CA suggests to renew the certificate ``pem`` (ARI, RFC 9773).

        Returns ``None`` if the CA makes no suggestions.

        Raises:
            IssuanceFailed: the CA offers suggestions, but the request failed.
            Cancelled: :meth:`cancel` was called.
        """

        def ask(ca: client.ClientV2) -> datetime | None:
            when, _ = ca.renewal_time(pem)
            return when

        return self._with_ca(ask)

    def _with_ca(self, task: Callable[[client.ClientV2], Result]) -> Result:
        try:
            net = _Network(self._account_key(), self._acme.ca_file, self._cancelled)
            with net.session:
                directory = client.ClientV2.get_directory(self._acme.directory, net)
                return task(client.ClientV2(directory, net))
        except errors.ValidationError as error:
            raise IssuanceFailed(_one_line(_validation_problem(error))) from error
        except errors.TimeoutError:
            raise IssuanceFailed("the CA did not finish in time") from None
        except (Cancelled, IssuanceFailed):
            raise
        except Exception as error:
            # A CA may answer anything, and the library may raise anything because of it. Neither
            # must end the task that renews certificates.
            raise IssuanceFailed(_one_line(f"{type(error).__name__}: {error}")) from error

    def _account_key(self) -> JWKEC:
        file = self._cache.account_file(self._acme.directory)
        stored = self._cache.read(file)
        if stored is not None:
            return JWKEC.json_loads(stored.decode())
        key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
        self._cache.write(file, key.json_dumps().encode())
        return key

    def _order(self, ca: client.ClientV2) -> bytes:
        self._register(ca)
        private_key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        order = ca.new_order(crypto_util.make_csr(private_key, [self._acme.domain]))
        with ExitStack() as cleanup:
            for authorization in order.authorizations:
                if authorization.body.status != messages.STATUS_VALID:
                    self._answer(ca, authorization, cleanup)
            # The library compares the deadline with a naive local time.
            deadline = datetime.now() + self._timeout
            order = ca.poll_and_finalize(order, deadline)
        return private_key + order.fullchain_pem.encode()

    def _register(self, ca: client.ClientV2) -> None:
        """Create the account; if the CA knows the key already, use the account it names."""
        registration = messages.NewRegistration.from_data(
            email=self._acme.email, terms_of_service_agreed=True
        )
        try:
            ca.new_account(registration)
        except errors.ConflictError as known:
            ca.net.account = messages.RegistrationResource(
                body=messages.Registration(), uri=known.location
            )

    def _answer(
        self, ca: client.ClientV2, authorization: messages.AuthorizationResource, cleanup: ExitStack
    ) -> None:
        for offered in authorization.body.challenges:
            challenge = offered.chall
            if isinstance(challenge, challenges.HTTP01):
                response, content = offered.response_and_validation(ca.net.key)
                self._responder.add(challenge.path, content.encode())
                cleanup.callback(self._responder.remove, challenge.path)
                ca.answer_challenge(offered, response)
                return
        raise IssuanceFailed("the CA offers no HTTP-01 challenge")


def _validation_problem(error: errors.ValidationError) -> str:
    problems = [
        str(challenge.error)
        for failed in error.failed_authzrs
        for challenge in failed.body.challenges
        if challenge.error is not None
    ]
    return f"the CA could not validate the domain: {'; '.join(problems)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
