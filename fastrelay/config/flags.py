"""The flags of ``fastrelay``, group by group, as ``--help`` shows them.

A flag that only some modes use has no default here, so that its presence can be told: see
:mod:`fastrelay.config.from_flags`, which has the defaults.
"""

import argparse

from fastrelay import __version__
from fastrelay.config.checks import CommandLineParser, number, parse_networks
from fastrelay.config.from_flags import (
    CERT_CACHE,
    HTTP_LISTEN,
    HTTPS_LISTEN,
    LETS_ENCRYPT,
    METRICS_LISTEN,
)
from fastrelay.config.push import CREDENTIALS, ENDPOINT, TOKEN_URL
from fastrelay.config.settings import LEAST_MESSAGE_BYTES, MIB, Intervals, Limits
from fastrelay.log import LEVELS


def make_parser() -> argparse.ArgumentParser:
    """The parser; it raises :class:`ConfigurationError` where argparse would exit."""
    parser = CommandLineParser(
        prog="fastrelay",
        description="Joins phones to the daemon on their user's machine, by server-id.",
        epilog="See also: fastrelay probe --help (checks a running relay), fastrelay top --help.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    _add_modes(parser)
    _add_tls(parser)
    _add_clients(parser)
    limits = parser.add_argument_group("limits")
    _add_caps(limits)
    _add_rates(limits)
    _add_push(parser)
    _add_log(parser)
    return parser


def _add_modes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("one of three ways to listen")
    group.add_argument(
        "--insecure-listen",
        metavar="HOST:PORT",
        help="serve plain HTTP here: for development, or behind a proxy that ends TLS",
    )
    group.add_argument(
        "--domain",
        metavar="NAME",
        help="serve TLS for NAME, with certificates that are issued and renewed by themselves"
        " (ACME); needs the extra fastrelay[acme]",
    )
    group.add_argument(
        "--tls-cert",
        metavar="FILE",
        help="serve TLS with this PEM chain, which is read again on SIGHUP and when it changes",
    )
    group.add_argument("--tls-key", metavar="FILE", help="and this private key")


def _add_tls(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with TLS")
    group.add_argument(
        "--https-listen", metavar="HOST:PORT", help=f"where TLS is served (default: {HTTPS_LISTEN})"
    )
    group.add_argument(
        "--http-listen",
        metavar="HOST:PORT",
        help="where the CA asks for challenges, with --domain; it always asks on port 80"
        f" (default: {HTTP_LISTEN})",
    )
    group.add_argument(
        "--cert-cache",
        metavar="DIR",
        help=f"where certificates are kept, with --domain (default: {CERT_CACHE})",
    )
    group.add_argument(
        "--acme-directory", metavar="URL", help=f"another CA (default: {LETS_ENCRYPT})"
    )
    group.add_argument("--acme-email", metavar="ADDRESS", help="where the CA may write to")
    group.add_argument(
        "--acme-ca-file", metavar="FILE", help="PEM certificates the CA's own HTTPS is trusted by"
    )
    group.add_argument(
        "--https-proxy-protocol",
        action="store_true",
        default=None,
        help="require a PROXY protocol v2 header before TLS, and take the client's address from it",
    )
    group.add_argument(
        "--proxy-protocol-from",
        metavar="CIDR[,...]",
        type=parse_networks("--proxy-protocol-from"),
        help="peers whose PROXY header is believed; others are dropped (default: any)",
    )


def _add_clients(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("metrics, and whose address it is")
    group.add_argument(
        "--metrics-listen",
        metavar="IP:PORT",
        default=METRICS_LISTEN,
        help="serve /metrics here; a loopback address, or empty for none (default: %(default)s)",
    )
    group.add_argument(
        "--trust-x-forwarded-for",
        metavar="CIDR[,...]",
        nargs="?",
        const=(),
        type=parse_networks("--trust-x-forwarded-for"),
        help="take the client's address from X-Forwarded-For: its left-most entry, or with"
        " networks the first one outside them, from the right (default: the socket's peer)",
    )


def _add_caps(group: argparse._ArgumentGroup) -> None:
    limits = Limits()
    group.add_argument(
        "--max-connections",
        metavar="N",
        type=number(int, 1),
        help="live WebSockets (default: what the file-descriptor limit allows, at most 10000)",
    )
    group.add_argument(
        "--max-connections-per-ip",
        metavar="N",
        type=number(int, 0),
        default=limits.connections_per_ip,
        help="live WebSockets of one address; 0 for no such cap (default: %(default)s)",
    )
    group.add_argument(
        "--max-message-bytes",
        metavar="N",
        type=number(int, LEAST_MESSAGE_BYTES, 64 * MIB),
        default=limits.message_bytes,
        help="one message, assembled (default: %(default)s)",
    )
    group.add_argument(
        "--max-phones",
        metavar="N",
        type=number(int, 1),
        default=limits.phones,
        help="phones per server-id (default: %(default)s)",
    )
    group.add_argument(
        "--max-buffered-bytes",
        metavar="N",
        type=number(int, 1),
        default=limits.buffered_bytes,
        help="unsent bytes held for all phones together (default: %(default)s)",
    )


def _add_rates(group: argparse._ArgumentGroup) -> None:
    limits, intervals = Limits(), Intervals()
    group.add_argument(
        "--grace",
        metavar="SECONDS",
        type=number(float, 0),
        default=intervals.grace,
        help="how long a server-id waits for its binary to come back (default: %(default)g)",
    )
    group.add_argument(
        "--upgrade-burst",
        metavar="N",
        type=number(int, 0),
        default=limits.upgrade_burst,
        help="upgrade attempts one address may make at once; 0: no limit (default: %(default)s)",
    )
    group.add_argument(
        "--upgrade-refill",
        metavar="SECONDS",
        type=number(float, 0.001),
        default=limits.upgrade_refill,
        help="until it may make one more (default: %(default)g)",
    )


def _add_push(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "push", f"Waking phones through FCM: on when {CREDENTIALS} holds a service account's key."
    )
    group.add_argument(
        "--push-endpoint", metavar="URL", help=f"the FCM HTTP v1 API (default: {ENDPOINT})"
    )
    group.add_argument(
        "--push-token-url", metavar="URL", help=f"where tokens are fetched (default: {TOKEN_URL})"
    )
    group.add_argument(
        "--push-ca-file",
        metavar="FILE",
        help="the PEM certificates both are trusted by (default: the system's)",
    )


def _add_log(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("log, on stderr")
    group.add_argument("--log-level", choices=LEVELS, default="info", help="default: %(default)s")
    group.add_argument(
        "--log-format", choices=("logfmt", "json"), default="logfmt", help="default: %(default)s"
    )
