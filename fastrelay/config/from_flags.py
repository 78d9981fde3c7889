"""Makes settings from flags and environment, and refuses flags that exclude one another.

An unclear or unsafe configuration is refused before the relay starts (operations, refusals).
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastrelay.config.checks import (
    check_privileges,
    client_ssl_context,
    raise_descriptor_limit,
    read_switch,
    share_descriptors,
    share_of_worker,
)
from fastrelay.config.cpus import usable_cpus
from fastrelay.config.errors import ConfigurationError, install_extra
from fastrelay.config.flags import CERT_CACHE, PRODUCTION, SINGLE_INSTANCE
from fastrelay.config.memory_limit import memory_limit
from fastrelay.config.push import read_push
from fastrelay.config.settings import Acme, Intervals, Limits, Settings, TlsFiles
from fastrelay.config.sources import Options
from fastrelay.config.values import BadValue, directory

_HELD: Final = "--max-held-bytes"
_HELD_BEFORE: Final = "--max-buffered-bytes"
_LEAST_MESSAGES_HELD: Final = 16
"""Messages of the largest size that the budget of held bytes must have room for."""

_ACME_FLAGS: Final = (
    "--http-listen",
    "--cert-cache",
    "--acme-directory",
    "--acme-email",
    "--acme-ca-file",
)
_FILE_FLAGS: Final = ("--tls-cert", "--tls-key")
_TLS_FLAGS: Final = ("--https-listen", "--https-proxy-protocol", "--proxy-protocol-from")


def read_settings(options: Options, environment: Mapping[str, str]) -> Settings:
    """The settings that the given flags, variables and configuration file result in.

    Raises:
        ConfigurationError: they ask for something that is impossible or not allowed.
    """
    tls = _read_tls(options)
    _check_environment(options, environment)
    workers = _read_workers(options)
    descriptors, has_tls = raise_descriptor_limit(), tls is not None
    connections, handshakes = share_descriptors(
        descriptors,
        options["--max-connections"],
        workers,
        has_tls=has_tls,
        flag=options.origin("--max-connections"),
    )
    proxies = options["--proxy-protocol-from"] or ()
    return Settings(
        listen=options["--insecure-listen" if tls is None else "--https-listen"],
        tls=tls,
        proxy_headers=proxies if options["--https-proxy-protocol"] else None,
        push=read_push(environment, options),
        intervals=Intervals(**options.settings("intervals")),
        limits=Limits(
            connections=connections,
            connections_of_worker=share_of_worker(
                descriptors, workers, has_tls=has_tls
            ).connections,
            handshakes=handshakes,
            held_bytes=_read_held_bytes(options),
            **options.settings("limits"),
        ),
        workers=workers,
        unknown_variables=options.unknown_variables,
        **options.settings(),
    )


def _read_workers(options: Options) -> int:
    wanted = options["--workers"]
    return usable_cpus() if wanted == "auto" else int(wanted)


def _read_held_bytes(options: Options) -> int:
    """The budget of held bytes; it has room for some messages of the largest size."""
    given = [flag for flag in (_HELD, _HELD_BEFORE) if options.is_given(flag)]
    if len(given) > 1:
        raise ConfigurationError(
            f"{options.origin(_HELD_BEFORE)} is the old name of {options.origin(_HELD)}",
            "give one of them",
        )
    message = options["--max-message-bytes"]
    least = _LEAST_MESSAGES_HELD * message
    if given:
        held, what = int(options[given[0]]), options.origin(given[0])
    else:
        allowed = memory_limit()
        held, what = int(options[_HELD]), f"the default of {_HELD},"
        if allowed is not None and allowed // 2 < held:
            held, what = allowed // 2, f"{_HELD} is not given, and half of this process's memory,"
    if held < least:
        raise ConfigurationError(
            f"{what} {held} is less than {_LEAST_MESSAGES_HELD} times"
            f" {options.origin('--max-message-bytes')} {message}",
            f"give {_HELD} {least} or more, or a smaller --max-message-bytes",
        )
    return held


def asks_to_listen(options: Options) -> bool:
    """Whether the options name any of the three ways to listen."""
    return any(options.is_given(flag) for flag in ("--insecure-listen", "--domain", *_FILE_FLAGS))


def _read_tls(options: Options) -> TlsFiles | Acme | None:
    """Read the way to listen: exactly one must be given, and no flag that it would ignore."""
    ways = [flag for flag in ("--insecure-listen", "--domain") if options.is_given(flag)]
    ways += [flag for flag in _FILE_FLAGS if options.is_given(flag)][:1]
    if len(ways) > 1:
        named = " and ".join(options.origin(way) for way in ways)
        raise ConfigurationError(f"{named} exclude one another", "give one of them")
    if options.is_given("--insecure-listen"):
        origin = options.origin("--insecure-listen")
        _refuse(options, (*_TLS_FLAGS, *_ACME_FLAGS), f"{origin}, which serves no TLS")
        return None
    if options.is_given("--proxy-protocol-from") and not options["--https-proxy-protocol"]:
        raise ConfigurationError(
            f"{options.origin('--proxy-protocol-from')} does nothing without"
            f" {options.origin('--https-proxy-protocol')}",
            "give both, or none",
        )
    if options.is_given("--domain"):
        return _read_acme(options)
    for flag, other in (_FILE_FLAGS, _FILE_FLAGS[::-1]):
        if not options.is_given(flag):
            raise ConfigurationError(
                f"{flag} is missing", f"{flag} and {options.origin(other)} go together"
            )
    origin = options.origin("--tls-cert")
    _refuse(options, _ACME_FLAGS, f"{origin}, whose certificate another program renews")
    return TlsFiles(certificate=Path(options["--tls-cert"]), key=Path(options["--tls-key"]))


def _refuse(options: Options, flags: tuple[str, ...], way: str) -> None:
    for flag in flags:
        if options.is_given(flag):
            raise ConfigurationError(
                f"{options.origin(flag)} does nothing with {way}", "leave one of them out"
            )


def _read_acme(options: Options) -> Acme:
    if importlib.util.find_spec("acme") is None:
        raise ConfigurationError(
            f"{options.origin('--domain')} needs the extra acme", install_extra("acme")
        )
    client_ssl_context(options.origin("--acme-ca-file"), options["--acme-ca-file"])
    return Acme(
        domain=options["--domain"],
        http_listen=options["--http-listen"],
        cache=options["--cert-cache"] or _default_cache(),
        directory=options["--acme-directory"],
        email=options["--acme-email"],
        ca_file=options["--acme-ca-file"],
    )


def _default_cache() -> Path:
    try:
        return directory(CERT_CACHE)
    except BadValue as bad:
        raise ConfigurationError(f"the default of --cert-cache, {bad.what}", bad.fix) from None


def _check_environment(options: Options, environment: Mapping[str, str]) -> None:
    production = read_switch(environment, PRODUCTION)
    single = read_switch(environment, SINGLE_INSTANCE)
    if production and options.is_given("--insecure-listen"):
        raise ConfigurationError(
            f"{options.origin('--insecure-listen')} is refused while {PRODUCTION} is 1",
            "serve TLS with --domain or --tls-cert, or unset the variable behind a proxy",
        )
    if "FLY_APP_NAME" in environment and not single:
        raise ConfigurationError(
            f"this platform can run several copies, and {SINGLE_INSTANCE} is not set",
            f"scale to one machine and set {SINGLE_INSTANCE}=1: who is connected is known to one"
            " process alone",
        )
    check_privileges(production=production)
