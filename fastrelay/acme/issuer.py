"""Orders certificates from an ACME CA (RFC 8555).

All calls block, so they run in a thread of their own. The protocol is implemented by certbot's
``acme`` library, which the extra ``acme`` installs.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from acme import challenges, client, crypto_util, errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWKEC

from fastrelay.acme.cache import CertificateCache
from fastrelay.acme.network import REQUEST_TIMEOUT, BoundedNetwork, Budget, Cancelled
from fastrelay.acme.responder import ChallengeResponder
from fastrelay.config.settings import Acme

Result = TypeVar("Result")


class IssuanceFailed(Exception):
    """The CA cannot be reached or refused. The text is one line that may be logged.

    Attributes:
        retry_after: the seconds for which the CA asked to wait; 0.0 if it did not ask.
    """

    retry_after = 0.0


class Issuer:
    """Orders certificates for one domain. Only one call may run at a time.

    Args:
        acme: the domain, the CA and the account's email address.
        cache: where the account key is stored.
        responder: answers the CA's challenges on port 80.
        timeout: the seconds that all the requests of one call may take together.
        request_timeout: the seconds that each of them may take.
        on_damaged: told, in the thread of the call, where a damaged account file was put.
    """

    def __init__(
        self,
        acme: Acme,
        cache: CertificateCache,
        responder: ChallengeResponder,
        timeout: float,
        request_timeout: float = REQUEST_TIMEOUT,
        on_damaged: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self._acme = acme
        self._cache = cache
        self._responder = responder
        self._timeout = timeout
        self._request_timeout = request_timeout
        self._cancelled = threading.Event()
        self._on_damaged = on_damaged

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

        def ask(ca: client.ClientV2, budget: Budget) -> datetime | None:
            when, _ = ca.renewal_time(pem)
            return when

        return self._with_ca(ask)

    def _with_ca(self, task: Callable[[client.ClientV2, Budget], Result]) -> Result:
        budget = Budget(self._timeout, self._cancelled)
        try:
            return self._call(task, budget)
        except IssuanceFailed as failure:
            failure.retry_after = budget.retry_after
            raise

    def _call(self, task: Callable[[client.ClientV2, Budget], Result], budget: Budget) -> Result:
        try:
            net = BoundedNetwork(
                self._account_key(), self._acme.ca_file, budget, self._request_timeout
            )
            with net.session:
                directory = client.ClientV2.get_directory(self._acme.directory, net)
                return task(client.ClientV2(directory, net), budget)
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
            try:
                return JWKEC.json_loads(stored.decode())
            except Exception:  # the library raises many kinds for bytes that are no key
                self._on_damaged(self._cache.set_aside(file))
        key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
        self._cache.write(file, key.json_dumps().encode())
        return key

    def _order(self, ca: client.ClientV2, budget: Budget) -> bytes:
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
            deadline = datetime.now() + timedelta(seconds=budget.remaining())
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
