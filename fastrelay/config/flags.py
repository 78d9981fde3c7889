"""The table of all flags of ``fastrelay``, with one row for each flag.

Command line, environment, configuration file, ``--help`` and ``fastrelay check`` are made from it,
so a new flag is one row here. A value that ``starting`` logs is named where that is logged, too.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from fastrelay.config import values
from fastrelay.config.settings import LEAST_MESSAGE_BYTES, MIB, Address, Settings
from fastrelay.log import LEVELS

CERT_CACHE: Final = "~/.fastrelay/certs"
LETS_ENCRYPT: Final = "https://acme-v02.api.letsencrypt.org/directory"
FCM: Final = "https://fcm.googleapis.com"
FCM_TOKENS: Final = "https://oauth2.googleapis.com/token"
CREDENTIALS: Final = "PYRYCODE_RELAY_FCM_CREDENTIALS"
"""The environment variable that holds the whole JSON key of a service account."""

PRODUCTION: Final = "PYRYCODE_RELAY_PRODUCTION"
SINGLE_INSTANCE: Final = "PYRYCODE_RELAY_SINGLE_INSTANCE"

PREFIX: Final = "FASTRELAY_"
"""What the name of a flag's environment variable begins with."""

CONFIG: Final = "--config"

_DEFAULTS: Final = Settings(listen=Address("", 0))


class Flag(NamedTuple):
    """One flag.

    Attributes:
        parse: converts the text that was given to the value; raises
            :class:`~fastrelay.config.values.BadValue`.
        default: the value if the flag is not given.
        shown: the default as ``--help`` shows it; empty if the help text tells it.
        value: whether a value follows the flag. If it is left out, the text is ``true``.
        setting: the path in :class:`Settings` of the value in effect; empty if it has none of its
            own.
        computed: whether :mod:`fastrelay.config.from_flags` computes the setting. If not, it is the
            value unchanged, and its default in :class:`Settings` is the flag's.
        limit: whether ``starting`` logs the value in effect.
    """

    name: str
    metavar: str
    help: str
    parse: Callable[[str], Any]
    default: Any = None
    shown: str = ""
    value: Literal["required", "optional", "switch"] = "required"
    setting: str = ""
    computed: bool = False
    limit: bool = False

    @property
    def key(self) -> str:
        """The name in the configuration file."""
        return self.name[2:]

    @property
    def variable(self) -> str:
        """The name of the environment variable."""
        return PREFIX + self.log_key.upper()

    @property
    def log_key(self) -> str:
        """The key of the value in a line of the log."""
        return self.key.replace("-", "_")


class Group(NamedTuple):
    """Flags under one heading of ``--help``."""

    title: str
    flags: tuple[Flag, ...]
    description: str = ""


def look_up(settings: Settings, path: str) -> Any:
    """The value at a path such as ``limits.phones``."""
    found: Any = settings
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _setting(name: str, setting: str, metavar: str, help_text: str, **more: Any) -> Flag:
    """A flag whose value becomes a setting unchanged."""
    default = look_up(_DEFAULTS, setting)
    if metavar == "SIZE":
        shown = values.in_units(default)
    else:
        shown = f"{default:g}" if isinstance(default, float) else str(default or "")
    return Flag(
        name, metavar, help_text, **{"default": default, "shown": shown, "setting": setting} | more
    )


def _listens(name: str, help_text: str, default: str = "") -> Flag:
    address = values.address(default) if default else None
    return Flag(name, "HOST:PORT", help_text, values.address, address, default)


_LISTEN: Final = Group(
    "one of three ways to listen",
    (
        _listens(
            "--insecure-listen",
            "serve plain HTTP here: for development, or behind a proxy that ends TLS",
        ),
        Flag(
            "--domain",
            "NAME",
            "serve TLS for NAME, with certificates that are issued and renewed automatically"
            " (ACME); needs the extra acme",
            values.domain,
        ),
        Flag(
            "--tls-cert",
            "FILE",
            "serve TLS with this PEM chain, which is read again on SIGHUP and when it changes",
            values.file_name,
        ),
        Flag("--tls-key", "FILE", "the private key of --tls-cert", values.file_name),
    ),
)
_TLS: Final = Group(
    "with TLS",
    (
        _listens("--https-listen", "where TLS is served", ":443"),
        _listens(
            "--http-listen",
            "with --domain: where the CA fetches the answers to its challenges; a CA always"
            " connects to port 80",
            ":80",
        ),
        Flag(
            "--cert-cache",
            "DIR",
            "with --domain: where certificates and account keys are stored",
            values.directory,
            shown=CERT_CACHE,
        ),
        Flag(
            "--acme-directory",
            "URL",
            "with --domain: the ACME directory of the CA that issues certificates",
            values.https_url,
            LETS_ENCRYPT,
            LETS_ENCRYPT,
        ),
        Flag(
            "--acme-email",
            "ADDRESS",
            "with --domain: an address to which the CA may send messages",
            values.email,
        ),
        Flag(
            "--acme-ca-file",
            "FILE",
            "with --domain: PEM certificates to trust for the HTTPS of the CA itself, instead of"
            " the system's",
            values.file_name,
        ),
        Flag(
            "--https-proxy-protocol",
            "",
            "require a PROXY protocol v2 header before TLS, and take the client's address from it",
            values.switch,
            False,
            value="switch",
        ),
        Flag(
            "--proxy-protocol-from",
            "CIDR[,...]",
            "the peers whose PROXY header is believed; other peers are dropped (default: every"
            " peer is believed)",
            values.networks,
        ),
    ),
)
_CLIENTS: Final = Group(
    "metrics, and the address of a client",
    (
        _setting(
            "--metrics-listen",
            "metrics_listen",
            "IP:PORT",
            "serve /metrics here: a loopback IP address, or an empty value for no metrics",
            parse=values.metrics_address,
            default=Address("127.0.0.1", 9090),
            shown="127.0.0.1:9090",
        ),
        _setting(
            "--trust-x-forwarded-for",
            "trusted_proxies",
            "CIDR[,...]",
            "take the client's address from X-Forwarded-For. Without networks: every peer is"
            " believed, and the left-most entry counts. With networks: only peers in them are"
            " believed, and the right-most entry that is in none of them counts (default: the"
            " client is the socket's peer)",
            parse=values.trust,
            value="optional",
        ),
    ),
)
_LIMITS: Final = Group(
    "limits",
    (
        Flag(
            "--max-connections",
            "N",
            "the most WebSockets at once (default: what the file-descriptor limit allows, at most"
            " 10000 for each worker)",
            values.number(int, 1),
            setting="limits.connections",
            computed=True,
            limit=True,
        ),
        _setting(
            "--max-connections-per-ip",
            "limits.connections_per_ip",
            "N",
            "the most WebSockets of one address at once. All IPv6 addresses of a /64 count as one;"
            " a /56 may have twice as many, a /48 four times as many. 0: no such limit (default: a"
            " tenth of --max-connections, at least 64, but no limit for loopback and private"
            " addresses)",
            parse=values.number(int, 0),
        ),
        _setting(
            "--max-message-bytes",
            "limits.message_bytes",
            "SIZE",
            "the largest message, with all of its fragments",
            parse=values.size(LEAST_MESSAGE_BYTES, 64 * MIB),
            limit=True,
        ),
        _setting(
            "--max-phones",
            "limits.phones",
            "N",
            "the most phones of one server-id",
            parse=values.number(int, 1),
            limit=True,
        ),
        _setting(
            "--max-held-bytes",
            "limits.held_bytes",
            "SIZE",
            "the most bytes kept in memory for all peers together; if the flag is not given, also"
            " at most half of the memory that the control group allows",
            parse=values.size(1),
            computed=True,
            limit=True,
        ),
        _setting(
            "--phone-send-buffer",
            "limits.phone_send_buffer",
            "SIZE",
            "the most bytes that the kernel holds for one phone until it has acknowledged them;"
            " --max-held-bytes does not count them. 0: the kernel chooses",
            parse=values.size(0, 1024 * MIB),
            limit=True,
        ),
        _setting(
            "--binary-send-buffer",
            "limits.binary_send_buffer",
            "SIZE",
            "the same for one binary; the kernel may grant less. 0: the kernel chooses",
            parse=values.size(0, 1024 * MIB),
            limit=True,
        ),
        Flag("--max-buffered-bytes", "SIZE", "the old name of --max-held-bytes", values.size(1)),
        _setting(
            "--grace",
            "intervals.grace",
            "SECONDS",
            "how long a server-id stays reserved after its binary has gone",
            parse=values.number(float, 0),
            limit=True,
        ),
        _setting(
            "--upgrade-burst",
            "limits.upgrade_burst",
            "N",
            "how many upgrade attempts one address may make at once. 0: no limit, also for plain"
            " requests",
            parse=values.number(int, 0),
            limit=True,
        ),
        _setting(
            "--upgrade-refill",
            "limits.upgrade_refill",
            "SECONDS",
            "the time after which an address may make one more attempt",
            parse=values.number(float, 0.001),
            limit=True,
        ),
    ),
    "A SIZE is a number of bytes, or of KiB, MiB or GiB: 262144, 256KiB.",
)
_PUSH: Final = Group(
    "push",
    (
        Flag(
            "--push-endpoint",
            "URL",
            "the base URL of the FCM HTTP v1 API",
            values.https_url,
            FCM,
            FCM,
        ),
        Flag(
            "--push-token-url",
            "URL",
            "the URL from which access tokens are fetched",
            values.https_url,
            FCM_TOKENS,
            FCM_TOKENS,
        ),
        Flag(
            "--push-ca-file",
            "FILE",
            "PEM certificates to trust for both URLs (default: the system's)",
            values.file_name,
        ),
    ),
    f"The relay wakes phones through FCM if the variable {CREDENTIALS} is set.",
)
_PROCESSES: Final = Group(
    "processes",
    (
        Flag(
            "--workers",
            "N|auto",
            "how many processes serve connections; auto: one for each CPU that the relay may use",
            values.count_or_auto,
            "auto",
            "auto",
            setting="workers",
            computed=True,
            limit=True,
        ),
        Flag(
            "--supervised",
            "",
            "start a supervisor process even if there is only one worker",
            values.switch,
            False,
            value="switch",
            setting="supervised",
        ),
    ),
)
_LOG: Final = Group(
    "log, on stderr",
    (
        _setting(
            "--log-level",
            "log_level",
            "LEVEL",
            f"write events of this level and above: {', '.join(LEVELS)}",
            parse=values.one_of(*LEVELS),
        ),
        _setting(
            "--log-format",
            "log_format",
            "FORMAT",
            "logfmt (key=value) or json",
            parse=values.one_of("logfmt", "json"),
        ),
    ),
)
_FILE: Final = Group(
    "configuration file",
    (
        Flag(
            CONFIG,
            "FILE",
            "a TOML file; its keys are the flags without their dashes: max-phones = 16",
            values.file_name,
        ),
    ),
)
GROUPS: Final = (_LISTEN, _TLS, _CLIENTS, _LIMITS, _PROCESSES, _PUSH, _LOG, _FILE)
FLAGS: Final = {flag.name: flag for group in GROUPS for flag in group.flags}
