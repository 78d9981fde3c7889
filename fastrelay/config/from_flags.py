"""Makes settings from flags and environment, and refuses flags that exclude one another.

An unclear or unsafe configuration is refused before the relay starts (operations, refusals).
"""

import argparse
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastrelay.config.checks import (
    check_privileges,
    client_ssl_context,
    parse_address,
    parse_metrics_address,
    raise_descriptor_limit,
    read_switch,
    share_descriptors,
    share_of_worker,
)
from fastrelay.config.cpus import usable_cpus
from fastrelay.config.errors import ConfigurationError
from fastrelay.config.flags import CERT_CACHE, LETS_ENCRYPT, fill, is_given, value_of
from fastrelay.config.memory_limit import memory_limit
from fastrelay.config.push import read_push
from fastrelay.config.settings import Acme, Intervals, Limits, Settings, TlsFiles

PRODUCTION: Final = "PYRYCODE_RELAY_PRODUCTION"
SINGLE_INSTANCE: Final = "PYRYCODE_RELAY_SINGLE_INSTANCE"

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
_DOMAIN: Final = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*")


def read_settings(options: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The settings that flags and environment ask for.

    Raises:
        ConfigurationError: they ask for something impossible or not allowed.
    """
    tls = _read_tls(options)
    _check_environment(options, environment)
    way = "--insecure-listen" if tls is None else "--https-listen"
    listen = parse_address(way, value_of(options, way))
    workers = _read_workers(options)
    descriptors, has_tls = raise_descriptor_limit(), tls is not None
    connections, handshakes = share_descriptors(
        descriptors, options.max_connections, workers, has_tls=has_tls
    )
    return Settings(
        listen=listen,
        tls=tls,
        proxy_headers=(options.proxy_protocol_from or ()) if options.https_proxy_protocol else None,
        metrics_listen=parse_metrics_address(value_of(options, "--metrics-listen")),
        push=read_push(
            environment, options.push_endpoint, options.push_token_url, options.push_ca_file
        ),
        intervals=Intervals(**fill(options, "intervals")),
        limits=Limits(
            connections=connections,
            connections_of_worker=share_of_worker(
                descriptors, workers, has_tls=has_tls
            ).connections,
            handshakes=handshakes,
            held_bytes=_read_held_bytes(options),
            **fill(options, "limits"),
        ),
        workers=workers,
        supervised=bool(options.supervised),
        **fill(options),
    )


def _read_workers(options: argparse.Namespace) -> int:
    wanted = value_of(options, "--workers")
    return usable_cpus() if wanted == "auto" else int(wanted)


def _read_held_bytes(options: argparse.Namespace) -> int:
    """The budget of held bytes; it has room for some messages of the largest size."""
    given = [flag for flag in (_HELD, _HELD_BEFORE) if is_given(options, flag)]
    if len(given) > 1:
        raise ConfigurationError(f"{_HELD_BEFORE} is the old name of {_HELD}", "give one of them")
    message = value_of(options, "--max-message-bytes")
    least = _LEAST_MESSAGES_HELD * message
    if given:
        held, what = int(value_of(options, given[0])), given[0]
    else:
        allowed = memory_limit()
        held, what = int(value_of(options, _HELD)), f"the default of {_HELD},"
        if allowed is not None and allowed // 2 < held:
            held, what = allowed // 2, f"{_HELD} is not given, and half of this process's memory,"
    if held < least:
        raise ConfigurationError(
            f"{what} {held} is less than {_LEAST_MESSAGES_HELD} times"
            f" --max-message-bytes {message}",
            f"give {_HELD} {least} or more, or a smaller --max-message-bytes",
        )
    return held


def asks_to_listen(options: argparse.Namespace) -> bool:
    """Whether the flags name any of the three ways to listen."""
    return any(is_given(options, flag) for flag in ("--insecure-listen", "--domain", *_FILE_FLAGS))


def _read_tls(options: argparse.Namespace) -> TlsFiles | Acme | None:
    """Read the way to listen: exactly one must be given, and no flag that it would ignore."""
    ways = [flag for flag in ("--insecure-listen", "--domain") if is_given(options, flag)]
    if any(is_given(options, flag) for flag in _FILE_FLAGS):
        ways.append("--tls-cert/--tls-key")
    if len(ways) > 1:
        raise ConfigurationError(f"{' and '.join(ways)} exclude one another", "give one of them")
    if options.insecure_listen is not None:
        _refuse(options, (*_TLS_FLAGS, *_ACME_FLAGS), "--insecure-listen, which serves no TLS")
        return None
    if is_given(options, "--proxy-protocol-from") and not options.https_proxy_protocol:
        raise ConfigurationError(
            "--proxy-protocol-from does nothing without --https-proxy-protocol",
            "give both, or none",
        )
    if options.domain is not None:
        return _read_acme(options)
    _refuse(options, _ACME_FLAGS, "--tls-cert, whose certificate somebody else renews")
    for flag in _FILE_FLAGS:
        if not is_given(options, flag):
            raise ConfigurationError(f"{flag} is missing", "--tls-cert and --tls-key go together")
    return TlsFiles(certificate=Path(options.tls_cert), key=Path(options.tls_key))


def _refuse(options: argparse.Namespace, flags: tuple[str, ...], way: str) -> None:
    for flag in flags:
        if is_given(options, flag):
            raise ConfigurationError(f"{flag} does nothing with {way}", "leave it out")


def _read_acme(options: argparse.Namespace) -> Acme:
    domain = options.domain.lower()
    if not _DOMAIN.fullmatch(domain):
        raise ConfigurationError(
            f"--domain {options.domain!r} is not a domain name", "for example relay.example.org"
        )
    if importlib.util.find_spec("acme") is None:
        raise ConfigurationError("--domain needs the extra acme", "pip install 'fastrelay[acme]'")
    directory = value_of(options, "--acme-directory")
    if not directory.startswith("https://"):
        raise ConfigurationError(
            f"--acme-directory {directory!r} is not an https URL", f"for example {LETS_ENCRYPT}"
        )
    client_ssl_context("--acme-ca-file", options.acme_ca_file)
    return Acme(
        domain=domain,
        http_listen=parse_address("--http-listen", value_of(options, "--http-listen")),
        cache=_cache_directory(value_of(options, "--cert-cache")),
        directory=directory,
        email=options.acme_email,
        ca_file=options.acme_ca_file,
    )


def _cache_directory(text: str) -> Path:
    fix = f"name a directory of the relay's own; where HOME is not set, {CERT_CACHE} is none"
    if not text:
        raise ConfigurationError("--cert-cache names no directory", fix)
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ConfigurationError(
            f"--cert-cache {text!r}: there is no such home directory", fix
        ) from None


def _check_environment(options: argparse.Namespace, environment: Mapping[str, str]) -> None:
    production = read_switch(environment, PRODUCTION)
    single = read_switch(environment, SINGLE_INSTANCE)
    if production and options.insecure_listen is not None:
        raise ConfigurationError(
            f"--insecure-listen is refused while {PRODUCTION} is 1",
            "serve TLS with --domain or --tls-cert, or unset the variable behind a proxy",
        )
    if "FLY_APP_NAME" in environment and not single:
        raise ConfigurationError(
            f"this platform can run several copies, and {SINGLE_INSTANCE} is not set",
            f"scale to one machine and set {SINGLE_INSTANCE}=1: who is connected is known to one"
            " process alone",
        )
    check_privileges(production=production)
