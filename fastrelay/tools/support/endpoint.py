"""Where a server listens, from the URL on a command line."""

import re
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from fastrelay.config.checks import client_ssl_context
from fastrelay.config.errors import ConfigurationError

_HOST: Final = re.compile(r"[A-Za-z0-9._:-]+")
_TARGET: Final = re.compile(r"/[!-~]*")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens.

    Attributes:
        host: a host name, or an IP address without brackets; ASCII.
        port: the TCP port.
        tls: the TLS context; ``None`` for plain TCP.
        plain_scheme: the scheme without TLS, ``ws`` or ``http``.
        dial: the host and port to connect to instead; the Host header and the name in TLS stay.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    plain_scheme: str = "ws"
    dial: tuple[str, int] | None = None

    @property
    def authority(self) -> str:
        """The value of the Host header: without the port if it is the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.plain_scheme}{'s' if self.tls else ''}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of a URL that is one of a server: no user, no fragment.

    Attributes:
        secure: whether the scheme is the one with TLS.
        host: ASCII, without brackets.
        port: that of the scheme if the URL has none.
        target: path and query.
    """

    secure: bool
    host: str
    port: int
    target: str

    def endpoint(
        self, plain_scheme: str, ca_file: str | None, dial: tuple[str, int] | None = None
    ) -> Endpoint:
        """The endpoint of this URL.

        Args:
            plain_scheme: its scheme without TLS.
            ca_file: a PEM file of the CA certificates to trust; ``None`` for the system's.
            dial: where to connect to instead.

        Raises:
            ConfigurationError: ``ca_file`` cannot be used.
        """
        tls = client_ssl_context("--ca-file", ca_file) if self.secure else None
        if ca_file is not None and tls is None:
            raise ConfigurationError(
                f"--ca-file has no meaning with {plain_scheme}://",
                f"leave it out, or use {plain_scheme}s://",
            )
        return Endpoint(self.host, self.port, tls, plain_scheme, dial)


def split_url(url: str, plain_scheme: str, examples: str) -> Url:
    """The parts of ``url``.

    Args:
        url: from the command line.
        plain_scheme: ``ws`` or ``http``; with an ``s`` it is the same with TLS.
        examples: the fix in what is raised.

    Raises:
        ConfigurationError: the URL has another form. The text never quotes the URL, because it may
            contain a password.
    """
    unusable = ConfigurationError("the URL has no HOST:PORT that can be used", examples)
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _ascii_host(parts)
    except ValueError:  # UnicodeError of idna is a ValueError
        raise unusable from None
    secure = parts.scheme == f"{plain_scheme}s"
    if not secure and parts.scheme != plain_scheme:
        raise ConfigurationError(
            f"the URL does not begin with {plain_scheme}:// or {plain_scheme}s://", examples
        )
    if not _HOST.fullmatch(host) or port == 0:
        raise unusable
    if "@" in parts.netloc or parts.fragment:
        raise ConfigurationError("the URL has more than a scheme, a host and a port", examples)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _TARGET.fullmatch(target):
        raise ConfigurationError("the URL's path has characters that need %-escapes", examples)
    return Url(secure, host, port or (443 if secure else 80), target)


def host_and_port(flag: str, text: str) -> tuple[str, int]:
    """The host and the port of ``HOST:PORT``.

    Raises:
        ConfigurationError: it has another form.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = _ascii_host(parts), parts.port
    except ValueError:
        host, port = "", None
    if not port or not _HOST.fullmatch(host) or parts.netloc != text or "@" in text:
        raise ConfigurationError(
            f"{flag} is not HOST:PORT", f"for example {flag} 192.0.2.7:443, or [2001:db8::7]:443"
        )
    return host, port


def _ascii_host(parts: SplitResult) -> str:
    return (parts.hostname or "").encode("idna").decode("ascii")
