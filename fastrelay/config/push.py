"""Reads and checks the settings of push, before the relay starts."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from fastrelay.config.checks import client_ssl_context
from fastrelay.config.errors import ConfigurationError
from fastrelay.config.settings import Push, ServiceAccount

CREDENTIALS: Final = "PYRYCODE_RELAY_FCM_CREDENTIALS"
"""The environment variable that holds the whole JSON key."""

ENDPOINT: Final = "https://fcm.googleapis.com"
TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105


def read_push(
    environment: Mapping[str, str],
    endpoint: str | None,
    token_url: str | None,
    ca_file: str | None,
) -> Push | None:
    """The push settings of the environment and the three flags; ``None`` if push is off.

    Raises:
        ConfigurationError: the credential cannot be used, or a flag is wrong or would do nothing.
            The text shows nothing of the credential.
    """
    text = environment.get(CREDENTIALS)
    flags = {
        "--push-endpoint": endpoint,
        "--push-token-url": token_url,
        "--push-ca-file": ca_file,
    }
    if text is None:
        for flag, value in flags.items():
            if value is not None:
                raise ConfigurationError(
                    f"{flag} does nothing, because push is off",
                    f"set {CREDENTIALS} to turn it on, or leave the flag out",
                )
        return None
    account = _read_account(text)
    endpoint = _check_url("--push-endpoint", ENDPOINT if endpoint is None else endpoint)
    token_url = _check_url("--push-token-url", TOKEN_URL if token_url is None else token_url)
    client_ssl_context("--push-ca-file", ca_file)
    return Push(
        account=account, endpoint=endpoint.rstrip("/"), token_url=token_url, ca_file=ca_file
    )


def _read_account(text: str) -> ServiceAccount:
    try:
        # Import what the extra installs first, because the modules that send need it as well.
        import jwt  # noqa: F401

        from fastrelay.config.service_account import BadCredential, read_service_account
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"{CREDENTIALS} is set, but push needs {missing.name}, which is not installed",
            "install fastrelay with the extra push: pip install 'fastrelay[push]'",
        ) from None
    try:
        return read_service_account(text)
    except BadCredential as bad:
        raise ConfigurationError(
            f"{CREDENTIALS} {bad}",
            "set it to the whole JSON key of a service account (not the name of a file),"
            " or unset it to run without push",
        ) from None


def _check_url(flag: str, text: str) -> str:
    try:
        url = urlsplit(text)
        good = (
            url.scheme == "https"
            and url.hostname is not None
            and url.port != 0
            and url.username is None
            and not (url.query or url.fragment)
            and text.isascii()
            and text.isprintable()
            and " " not in text
        )
    except ValueError:
        good = False
    if not good:
        raise ConfigurationError(
            # The URL is not quoted, because it may contain a password.
            f"{flag} is not an https URL without user, query and fragment",
            "for example https://push-proxy.example:8443",
        )
    return text
