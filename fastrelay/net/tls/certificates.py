"""The certificate that the relay presents to clients.

Before a certificate is used, a TLS handshake in memory verifies that its key and chain belong
together and that it has not expired. New connections get the certificate installed last;
established connections keep the one they started with. Connections that are accepted before there
is a certificate wait for the first one.
"""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

_CIPHERS_1_2: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""The TLS 1.2 suites with forward secrecy and AEAD; all suites of TLS 1.3 have both."""

_VERIFY_ERROR_EXPIRED: Final = 10
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED."""


class UnusableCertificate(ValueError):
    """The files cannot be used as certificate and key.

    The text gives the reason and quotes nothing of the files' content.
    """


class WaitingConnection(Protocol):
    """A connection that was accepted before there was a certificate; hashable by identity."""

    def begin(self, context: ssl.SSLContext) -> None:
        """Start the handshake with ``context``, since there is a certificate now."""


class Certificates:
    """The certificate in use.

    Attributes:
        context: the TLS context for new connections; ``None`` until there is a certificate.
        expires: when the certificate expires, in seconds since the epoch; 0.0 until there is one.
        waiting: the connections that wait for the first certificate, in order of arrival.
    """

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None
        self.expires = 0.0
        self.waiting: dict[WaitingConnection, None] = {}

    def install(self, certificate: Path, key: Path) -> None:
        """Prepare and use a certificate at once; see :meth:`prepare`."""
        self.prepare(certificate, key)()

    def prepare(self, certificate: Path, key: Path) -> Callable[[], None]:
        """Read and verify a certificate chain and its private key. May run in any thread.

        Args:
            certificate: the PEM file of the chain, leaf first.
            key: the PEM file of the unencrypted private key; may be the same file.

        Returns:
            What uses them for new connections; to be called in the event loop's thread.

        Raises:
            UnusableCertificate: the files cannot be used; the earlier certificate stays in use.
        """
        try:
            for file in (certificate, key):
                file.open("rb").close()  # the error of load_cert_chain() names no file
            context = _server_context(certificate, key)
            expires = _verify_with_handshake(context, certificate)
        except ssl.SSLCertVerificationError as error:
            why = (
                "it has expired"
                if error.verify_code == _VERIFY_ERROR_EXPIRED
                else error.verify_message
            )
            raise UnusableCertificate(f"{certificate}: {why}") from None
        except ssl.SSLError as error:
            raise UnusableCertificate(_at_fault(certificate, key, error)) from None
        except OSError as error:
            raise UnusableCertificate(
                f"{error.filename or certificate}: {error.strerror}"
            ) from None
        return lambda: self._use(context, expires)

    def _use(self, context: ssl.SSLContext, expires: float) -> None:
        self.context, self.expires = context, expires
        waiting, self.waiting = self.waiting, {}
        for connection in waiting:
            connection.begin(context)


def iso_time(seconds: float) -> str:
    """Seconds since the epoch as a date and time in UTC, for the log."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _at_fault(certificate: Path, key: Path, error: ssl.SSLError) -> str:
    """Which of the two files OpenSSL could not read, or that they do not belong together."""
    reason = (error.reason or "not PEM").lower().replace("_", " ")
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{key} is not the key of {certificate}: {reason}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except ssl.SSLError:
        return f"{certificate}: no certificate in it: {reason}"
    return f"{key}: no private key for {certificate} in it: {reason}"


def _server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS_1_2)
    # No session tickets: a phone connects once and stays, and the key that encrypts tickets would
    # live as long as the process. A TLS 1.2 session can still be resumed by its id, from OpenSSL's
    # own bounded cache, because Python has no switch for that.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key, password=_no_password)
    return context


def _no_password() -> str:
    """Refuse an encrypted key. Without this callback OpenSSL would ask on the terminal."""
    raise UnusableCertificate("the private key is encrypted; only one that is not can be used")


def _verify_with_handshake(context: ssl.SSLContext, certificate: Path) -> float:
    """Do a TLS handshake in memory with a client that trusts this certificate alone.

    Returns when the certificate expires, in seconds since the epoch.

    Raises:
        ssl.SSLError: the handshake failed.
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
