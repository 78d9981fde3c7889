"""The table of all flags of ``fastrelay``, from which parser, ``--help`` and settings are made.

A flag that is not given is ``None`` in the parsed options, whatever its default. So
:mod:`fastrelay.config.from_flags` can refuse a flag that was given and would have no effect.
"""

import argparse
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from fastrelay import __version__
from fastrelay.config.checks import CommandLineParser, count_or_auto, number, parse_networks
from fastrelay.config.push import CREDENTIALS, ENDPOINT, TOKEN_URL
from fastrelay.config.settings import (
    LEAST_MESSAGE_BYTES,
    MIB,
    Address,
    Settings,
)
from fastrelay.log import LEVELS

CERT_CACHE: Final = "~/.fastrelay/certs"
LETS_ENCRYPT: Final = "https://acme-v02.api.letsencrypt.org/directory"

_DEFAULTS: Final = Settings(listen=Address("", 0))


class Flag(NamedTuple):
    """One flag.

    Attributes:
        parse: converts the text that was given to the value.
        default: shown by ``--help``, and used if the flag is not given.
        setting: the path of the setting in :class:`Settings` that the value becomes unchanged, and
            whose default is the flag's; empty if :mod:`fastrelay.config.from_flags` reads the flag.
        further: more arguments of :meth:`argparse.ArgumentParser.add_argument`.
    """

    name: str
    metavar: str | None
    help: str
    parse: Callable[[str], Any] | None = None
    default: Any = None
    setting: str = ""
    further: tuple[tuple[str, Any], ...] = ()

    @property
    def key(self) -> str:
        """The attribute of the parsed options that holds the value."""
        return self.name[2:].replace("-", "_")


class Group(NamedTuple):
    """Flags under one heading of ``--help``."""

    title: str
    flags: tuple[Flag, ...]
    description: str | None = None


def _setting(name: str, setting: str, metavar: str | None, help_text: str, **more: Any) -> Flag:
    """A flag whose value becomes a setting unchanged."""
    default: Any = _DEFAULTS
    for part in setting.split("."):
        default = getattr(default, part)
    return Flag(name, metavar, help_text, default=default, setting=setting, **more)


_LISTEN: Final = Group(
    "one of three ways to listen",
    (
        Flag(
            "--insecure-listen",
            "HOST:PORT",
            "serve plain HTTP here: for development, or behind a proxy that ends TLS",
        ),
        Flag(
            "--domain",
            "NAME",
            "serve TLS for NAME, with certificates that are issued and renewed by themselves"
            " (ACME); needs the extra fastrelay[acme]",
        ),
        Flag(
            "--tls-cert",
            "FILE",
            "serve TLS with this PEM chain, which is read again on SIGHUP and when it changes",
        ),
        Flag("--tls-key", "FILE", "and this private key"),
    ),
)
_TLS: Final = Group(
    "with TLS",
    (
        Flag("--https-listen", "HOST:PORT", "where TLS is served", default=":443"),
        Flag(
            "--http-listen",
            "HOST:PORT",
            "where the CA asks for challenges, with --domain; it always asks on port 80",
            default=":80",
        ),
        Flag(
            "--cert-cache",
            "DIR",
            "where certificates are kept, with --domain",
            default=CERT_CACHE,
        ),
        Flag("--acme-directory", "URL", "another CA", default=LETS_ENCRYPT),
        Flag("--acme-email", "ADDRESS", "where the CA may write to"),
        Flag("--acme-ca-file", "FILE", "PEM certificates the CA's own HTTPS is trusted by"),
        Flag(
            "--https-proxy-protocol",
            None,
            "require a PROXY protocol v2 header before TLS, and take the client's address from it",
            further=(("action", "store_true"),),
        ),
        Flag(
            "--proxy-protocol-from",
            "CIDR[,...]",
            "peers whose PROXY header is believed; others are dropped (default: any)",
            parse_networks("--proxy-protocol-from"),
        ),
    ),
)
_CLIENTS: Final = Group(
    "metrics, and whose address it is",
    (
        Flag(
            "--metrics-listen",
            "IP:PORT",
            "serve /metrics here; a loopback address, or empty for none",
            default="127.0.0.1:9090",
        ),
        _setting(
            "--trust-x-forwarded-for",
            "trusted_proxies",
            "CIDR[,...]",
            "take the client's address from X-Forwarded-For: its left-most entry, or with"
            " networks the first one outside them, from the right (default: the socket's peer)",
            parse=parse_networks("--trust-x-forwarded-for"),
            further=(("nargs", "?"), ("const", ())),
        ),
    ),
)
_LIMITS: Final = Group(
    "limits",
    (
        Flag(
            "--max-connections",
            "N",
            "live WebSockets (default: what the file-descriptor limit allows, at most 10000)",
            number(int, 1),
        ),
        _setting(
            "--max-connections-per-ip",
            "limits.connections_per_ip",
            "N",
            "live WebSockets of one address, twice and four times as many of an IPv6 /56 and /48;"
            " 0 for no such cap (default: a tenth of --max-connections, at least 64; peers on"
            " loopback or private addresses have none then)",
            parse=number(int, 0),
        ),
        _setting(
            "--max-message-bytes",
            "limits.message_bytes",
            "N",
            "one message, assembled",
            parse=number(int, LEAST_MESSAGE_BYTES, 64 * MIB),
        ),
        _setting(
            "--max-phones", "limits.phones", "N", "phones per server-id", parse=number(int, 1)
        ),
        Flag(
            "--max-held-bytes",
            "N",
            "kept in memory for all peers together, whatever for; not more than half of what the"
            " control group allows unless it is given",
            number(int, 1),
            default=_DEFAULTS.limits.held_bytes,
        ),
        Flag("--max-buffered-bytes", "N", "the old name of --max-held-bytes", number(int, 1)),
        _setting(
            "--grace",
            "intervals.grace",
            "SECONDS",
            "how long a server-id waits for its binary to come back",
            parse=number(float, 0),
        ),
        _setting(
            "--upgrade-burst",
            "limits.upgrade_burst",
            "N",
            "upgrade attempts one address may make at once; 0: no limit",
            parse=number(int, 0),
        ),
        _setting(
            "--upgrade-refill",
            "limits.upgrade_refill",
            "SECONDS",
            "until it may make one more",
            parse=number(float, 0.001),
        ),
    ),
)
_PUSH: Final = Group(
    "push",
    (
        Flag("--push-endpoint", "URL", "the FCM HTTP v1 API", default=ENDPOINT),
        Flag("--push-token-url", "URL", "where tokens are fetched", default=TOKEN_URL),
        Flag(
            "--push-ca-file",
            "FILE",
            "the PEM certificates both are trusted by (default: the system's)",
        ),
    ),
    f"Waking phones through FCM: on when {CREDENTIALS} holds a service account's key.",
)
_LOG: Final = Group(
    "log, on stderr",
    (
        _setting("--log-level", "log_level", None, "", further=(("choices", tuple(LEVELS)),)),
        _setting(
            "--log-format", "log_format", None, "", further=(("choices", ("logfmt", "json")),)
        ),
    ),
)
_PROCESSES: Final = Group(
    "processes",
    (
        Flag(
            "--workers",
            "N|auto",
            "processes that serve; auto: one for each CPU this process may use",
            count_or_auto,
            default="1",
        ),
        Flag(
            "--supervised",
            None,
            "have a process that starts and watches them even if there is only one",
            further=(("action", "store_true"),),
        ),
    ),
)
GROUPS: Final = (_LISTEN, _TLS, _CLIENTS, _LIMITS, _PROCESSES, _PUSH, _LOG)
FLAGS: Final = {flag.name: flag for group in GROUPS for flag in group.flags}


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
    for group in GROUPS:
        arguments = parser.add_argument_group(group.title, group.description)
        for flag in group.flags:
            _add(arguments, flag)
    return parser


def _add(group: argparse._ArgumentGroup, flag: Flag) -> None:
    shown = flag.help
    if flag.default is not None:
        value = f"{flag.default:g}" if isinstance(flag.default, float) else flag.default
        shown = f"{shown} (default: {value})".lstrip()
    further = dict(flag.further)
    if flag.metavar is not None:
        further["metavar"] = flag.metavar
    if flag.parse is not None:
        further["type"] = flag.parse
    group.add_argument(flag.name, default=None, help=shown, **further)


def is_given(options: argparse.Namespace, name: str) -> bool:
    """Whether the flag was on the command line."""
    return getattr(options, FLAGS[name].key) is not None


def value_of(options: argparse.Namespace, name: str) -> Any:
    """What was given, be it empty, or the default.

    An empty value is no wish for the default: it may be an unset variable in a unit file.
    """
    flag = FLAGS[name]
    given = getattr(options, flag.key)
    return flag.default if given is None else given


def fill(options: argparse.Namespace, group: str = "") -> dict[str, Any]:
    """The settings that flags give as they are: of ``limits`` or ``intervals``, or of neither."""
    found = {}
    for flag in FLAGS.values():
        path, _, field = flag.setting.rpartition(".")
        if field and path == group:
            found[field] = value_of(options, flag.name)
    return found
