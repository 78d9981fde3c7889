"""Reads and checks the settings of push, before the relay starts."""

from collections.abc import Mapping
from typing import Final

from fastrelay.config.checks import client_ssl_context
from fastrelay.config.errors import ConfigurationError, install_extra
from fastrelay.config.flags import CREDENTIALS
from fastrelay.config.settings import Push, ServiceAccount
from fastrelay.config.sources import Options

_FLAGS: Final = ("--push-endpoint", "--push-token-url", "--push-ca-file")


def read_push(environment: Mapping[str, str], options: Options) -> Push | None:
    """The push settings of the environment and the three flags; ``None`` if push is off.

    Raises:
        ConfigurationError: the credential cannot be used, or a flag would do nothing. The text
            shows nothing of the credential.
    """
    text = environment.get(CREDENTIALS)
    if text is None:
        for flag in _FLAGS:
            if options.is_given(flag):
                raise ConfigurationError(
                    f"{options.origin(flag)} does nothing, because push is off",
                    f"set {CREDENTIALS} to turn it on, or leave it out",
                )
        return None
    account = _read_account(text)
    ca_file = options["--push-ca-file"]
    client_ssl_context(options.origin("--push-ca-file"), ca_file)
    return Push(
        account=account,
        endpoint=options["--push-endpoint"].rstrip("/"),
        token_url=options["--push-token-url"],
        ca_file=ca_file,
    )


def _read_account(text: str) -> ServiceAccount:
    try:
        # Import what the extra installs first, because the modules that send need it as well.
        import jwt  # noqa: F401

        from fastrelay.config.service_account import BadCredential, read_service_account
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"{CREDENTIALS} is set, but push needs {missing.name}, which is not installed",
            install_extra("push"),
        ) from None
    try:
        return read_service_account(text)
    except BadCredential as bad:
        raise ConfigurationError(
            f"{CREDENTIALS} {bad}",
            "set it to the whole JSON key of a service account (not the name of a file),"
            " or unset it to run without push",
        ) from None
