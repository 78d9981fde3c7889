"""The certificate that is shown to clients: taken into use, replaced, waited for.

A new one is rehearsed before anybody sees it: a handshake in memory shows that key and chain
belong together and have not expired. Whoever connects later gets it; who is connected keeps what
it has.
"""

import ssl
from pathlib import Path
from typing import Final, Protocol

_CIPHERS_1_2: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Forward secrecy and authenticated encryption; TLS 1.3 has nothing else."""

_VERIFY_ERROR_EXPIRED: Final = 10
"""X509_V_ERR_CERT_HAS_VERIFY_ERROR_EXPIRED, as OpenSSL numbers it."""


class UnusableCertificate(ValueError):
    """These files are no certificate and key to serve with; the text says why and shows neither."""


class WaitingConnection(Protocol):
    """A connection that was accepted before there was a certificate."""

    def begin(self, context: ssl.SSLContext) -> None:
        """There is one now."""


class Certificates:
    """The certificate in use.

    Attributes:
        context: for new connections; ``None`` until there is a certificate.
        expires: when it does, in seconds since the epoch; 0.0 until there is one.
        waiting: connections that wait for the first one, in the order they came.
    """

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None
        self.expires = 0.0
        self.waiting: dict[WaitingConnection, None] = {}

    def install(self, certificate: Path, key: Path) -> None:
        """Use a chain and its private key from now on.

        Raises:
            UnusableCertificate: they cannot be used; what was in use still is.
        """
        try:
            context = _server_context(certificate, key)
            self.expires = _verify_with_handshake(context, certificate)
        except ssl.SSLCertVerificationError as error:
            why = (
                "it has expired"
                if error.verify_code == _VERIFY_ERROR_EXPIRED
                else error.verify_message
            )
            raise UnusableCertificate(f"{certificate}: {why}") from None
        except ssl.SSLError as error:
            reason = (error.reason or "not PEM").lower().replace("_", " ")
            raise UnusableCertificate(f"{certificate}, {key}: {reason}") from None
        except OSError as error:
            raise UnusableCertificate(
                f"{error.filename or certificate}: {error.strerror}"
            ) from None
        self.context = context
        waiting, self.waiting = self.waiting, {}
        for connection in waiting:
            connection.begin(context)


def _server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS_1_2)
    # No tickets: a phone dials once and stays, and their key would live as long as the process.
    # A TLS 1.2 session can still be resumed by its id, from OpenSSL's own bounded cache: Python has
    # no switch for that.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key, password=_no_password)
    return context


def _no_password() -> str:
    """Instead of OpenSSL asking for one on the terminal."""
    raise UnusableCertificate("the private key is encrypted; only one that is not can be used")


def _verify_with_handshake(context: ssl.SSLContext, certificate: Path) -> float:
    """Shake hands in memory with a client that trusts this certificate alone; returns its expiry.

    Raises:
        ssl.SSLError: that failed.
    """
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    client_context.load_verify_locations(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    pending = [client, server]
    while pending:
        side = pending.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pending.append(side)
    presented = client.getpeercert()
    assert presented is not None
    return ssl.cert_time_to_seconds(str(presented["notAfter"]))
