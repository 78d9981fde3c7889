"""Translates OpenSSL's error of a failed handshake into one of the reasons in the metrics."""

import ssl
from typing import Final

from fastrelay.policy.counters.refused import HandshakeFault

_OF_VERSIONS: Final = frozenset(
    {
        *("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "VERSION_TOO_HIGH", "UNKNOWN_PROTOCOL"),
        *("TLSV1_ALERT_PROTOCOL_VERSION", "INAPPROPRIATE_FALLBACK"),
    }
)
_OF_CERTIFICATES: Final = ("CERTIFICATE", "UNKNOWN_CA", "UNRECOGNIZED_NAME")


def fault_of(error: ssl.SSLError) -> HandshakeFault:
    """The fault that an error of OpenSSL stands for."""
    reason = error.reason or ""
    if reason in _OF_VERSIONS:
        return HandshakeFault.VERSION
    if reason.startswith(("NO_SHARED", "NO_SUITABLE")):
        return HandshakeFault.NOTHING_SHARED
    if "ALERT" in reason or "UNRECOGNIZED_NAME" in reason:
        is_about_certificate = any(word in reason for word in _OF_CERTIFICATES)
        return HandshakeFault.CERTIFICATE_REFUSED if is_about_certificate else HandshakeFault.ALERT
    return HandshakeFault.MALFORMED
