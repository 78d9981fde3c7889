"""The command line: ``fastrelay [flags]`` runs a relay, ``fastrelay probe URL`` checks one."""

import argparse
import os
import sys
from collections.abc import Sequence

import uvloop

from fastrelay import __version__
from fastrelay.log import LEVELS
from fastrelay.preflight import (
    Refusal,
    RefusingParser,
    number,
    parse_address,
    parse_metrics_address,
    parse_networks,
    raise_descriptor_limit,
    share_descriptors,
)
from fastrelay.probe.command import main as probe
from fastrelay.push.configuration import CREDENTIALS, ENDPOINT, TOKEN_URL, read_push
from fastrelay.serve import serve
from fastrelay.settings import MIB, Intervals, Limits, Settings
from fastrelay.websocket.decoder import LEAST_LIMIT

EXIT_REFUSED = 2

_TWO_WAYS = """\
fastrelay: no listener was asked for

  fastrelay --insecure-listen 127.0.0.1:8080   runs a relay on plain HTTP: for development, or
                                               behind a proxy that ends TLS
  fastrelay probe ws://127.0.0.1:8080          checks a relay that runs

  fastrelay --help                             shows all flags
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] == "probe":
            return probe(arguments[1:])
        options = _parser().parse_args(arguments)
        if options.insecure_listen is None:
            sys.stderr.write(_TWO_WAYS)
            return EXIT_REFUSED
        return uvloop.run(serve(_settings(options)))
    except Refusal as refusal:
        sys.stderr.write(f"fastrelay: {refusal.what}\nfastrelay: {refusal.fix}\n")
        return EXIT_REFUSED


def _parser() -> argparse.ArgumentParser:
    limits, intervals = Limits(), Intervals()
    parser = RefusingParser(
        prog="fastrelay",
        description="Joins phones to the daemon on their user's machine, by server-id.",
        epilog="fastrelay probe URL checks a running relay; see fastrelay probe --help.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)

    group = parser.add_argument_group("listeners")
    group.add_argument(
        "--insecure-listen",
        metavar="HOST:PORT",
        help="serve plain HTTP here: for development, or behind a proxy that ends TLS",
    )
    group.add_argument(
        "--metrics-listen",
        metavar="IP:PORT",
        default="127.0.0.1:9090",
        help="serve /metrics here; a loopback address, or empty for none (default: %(default)s)",
    )
    group.add_argument(
        "--trust-x-forwarded-for",
        metavar="CIDR[,...]",
        nargs="?",
        const=(),
        type=parse_networks,
        help="take the client's address from X-Forwarded-For: its left-most entry, or with"
        " networks the first one outside them, from the right (default: the socket's peer)",
    )

    group = parser.add_argument_group("limits")
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
        type=number(int, LEAST_LIMIT, 64 * MIB),
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

    group = parser.add_argument_group("log, on stderr")
    group.add_argument("--log-level", choices=LEVELS, default="info", help="default: %(default)s")
    group.add_argument(
        "--log-format", choices=("logfmt", "json"), default="logfmt", help="default: %(default)s"
    )
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    """The settings the flags ask for.

    Raises:
        Refusal: they ask for something that cannot or must not be.
    """
    connections, handshakes = share_descriptors(raise_descriptor_limit(), options.max_connections)
    return Settings(
        listen=parse_address("--insecure-listen", options.insecure_listen),
        metrics_listen=parse_metrics_address(options.metrics_listen),
        trusted_proxies=options.trust_x_forwarded_for,
        push=read_push(
            os.environ, options.push_endpoint, options.push_token_url, options.push_ca_file
        ),
        intervals=Intervals(grace=options.grace),
        limits=Limits(
            message_bytes=options.max_message_bytes,
            phones=options.max_phones,
            upgrade_burst=options.upgrade_burst,
            upgrade_refill=options.upgrade_refill,
            connections=connections,
            connections_per_ip=options.max_connections_per_ip,
            handshakes=handshakes,
            buffered_bytes=options.max_buffered_bytes,
        ),
        log_level=options.log_level,
        log_format=options.log_format,
    )
