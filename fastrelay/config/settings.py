"""Every limit, interval and switch of one relay, frozen at start.

Policy lives here; mechanism takes it as an argument, so that a test can use milliseconds. The
defaults are those of the protocol's limits table and of the command line.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

Network = IPv4Network | IPv6Network
KIB: Final = 1024
MIB: Final = 1024 * 1024

LEAST_MESSAGE_BYTES: Final = 125
"""The smallest limit a message may have: what the decoder never checks against its limit."""

LEAST_PER_ADDRESS: Final = 64
"""The smallest cap of one address that is chosen where none is given."""


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen. An empty host means every interface, both address families."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """TLS with a certificate that somebody else renews: PEM files of the chain and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """TLS with a certificate for ``domain`` that comes and renews by itself (RFC 8555).

    Attributes:
        http_listen: where the CA asks for challenges; it always asks on port 80.
        cache: the directory that certificates and account keys are kept in.
        directory: URL of the CA's directory (RFC 8555 §7.1.1).
        email: where the CA may write to; ``None``: nowhere.
        ca_file: PEM file that verifies the CA's own HTTPS; ``None``: the usual authorities.
    """

    domain: str
    http_listen: Address
    cache: Path
    directory: str
    email: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # what has a key in it is not shown
class ServiceAccount:
    """What is used of a service account's JSON key.

    Its ``token_uri`` is not: where a signed assertion goes is the operator's flag to say.

    Attributes:
        project_id: whose messages are sent; safe in a URL's path.
        client_email: the account's name.
        private_key: signs assertions; PEM.
        private_key_id: tells Google which of the account's keys that is; may be empty.
    """

    project_id: str
    client_email: str
    private_key: str
    private_key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """How wakes are sent.

    Attributes:
        account: in whose name.
        endpoint: base URL of the FCM HTTP v1 API, without a slash at its end.
        token_url: where access tokens are fetched.
        ca_file: PEM file that verifies both; ``None``: the usual authorities.
    """

    account: ServiceAccount
    endpoint: str
    token_url: str
    ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How long things may take, in seconds.

    Attributes:
        head: from accept, or from the last response, to a complete request head.
        linger: reading on after a refusal, so that the peer gets to see it.
        close: from our close frame to the peer's.
        ping: between two pings.
        pong: from a ping to its pong.
        message: from the first byte of a message to its last.
        write: without the peer taking a single byte of what waits for it.
        tls_stall: from a part of a TLS handshake message to the rest of it.
        takeover_probe: from a conflicting claim's ping to the incumbent's pong.
        grace: a server-id stays reserved after its binary has gone.
        proxy_header: from accept to a complete PROXY protocol header.
        certificate_check: between two looks at certificate files.
        certificate_issue: a CA may take to validate and issue.
        drain: from the first signal to dropping everybody.
        bucket_sweep: between two evictions of idle rate-limit buckets.
        log_flood: one line and a count per event in each of these.
        push_call: one HTTP call to Google.
        push_token_margin: before its expiry, an access token is used no more.
        newcomers: accepting, TLS handshakes and request heads in one iteration of the loop.
        tick: how coarse all of the above are, but for those of push.
    """

    head: float = 5.0
    linger: float = 1.0
    close: float = 5.0
    ping: float = 30.0
    pong: float = 30.0
    message: float = 30.0
    write: float = 10.0
    tls_stall: float = 30.0
    takeover_probe: float = 10.0
    grace: float = 30.0
    proxy_header: float = 5.0
    certificate_check: float = 10.0
    certificate_issue: float = 90.0
    drain: float = 10.0
    bucket_sweep: float = 300.0
    log_flood: float = 10.0
    push_call: float = 10.0
    push_token_margin: float = 60.0
    newcomers: float = 0.002
    tick: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of anything there may be.

    Attributes:
        head_bytes: one request head.
        message_bytes: one assembled message.
        phones: phones registered under one server-id.
        upgrade_burst: upgrade attempts one address may make at once; 0 turns the limit off.
        upgrade_refill: seconds until it may make one more.
        buckets: addresses remembered by the limiter.
        connections: live WebSockets, relay-wide.
        connections_per_ip: live WebSockets from one address; 0 for no such cap, ``None``:
            :attr:`connections_per_address` says, and local peers have no such cap.
        handshakes: connections of the public listener that are not upgraded yet; past it the oldest
            of the address with the most is dropped.
        side_handshakes: the same for each of the other listeners.
        plain_burst: plain requests and TLS handshakes one address may make at once.
        plain_refill: seconds until it may make one more.
        phone_backlog_bytes: unsent bytes held for one phone.
        buffered_bytes: unsent bytes held for all phones together.
        binary_backlog_bytes: unsent bytes for one binary at which its phones stop being read.
        push_burst: wakes one server-id may ask for at once.
        push_refill: seconds until it may ask for one more.
        push_in_flight: wakes being sent, relay-wide.
    """

    head_bytes: int = 16 * KIB
    message_bytes: int = 256 * KIB
    phones: int = 16
    upgrade_burst: int = 20
    upgrade_refill: float = 6.0
    buckets: int = 100_000
    connections: int = 10_000
    connections_per_ip: int | None = None
    handshakes: int = 1_000
    side_handshakes: int = 12
    plain_burst: int = 100
    plain_refill: float = 0.05
    phone_backlog_bytes: int = 4 * MIB
    buffered_bytes: int = 256 * MIB
    binary_backlog_bytes: int = 256 * KIB
    push_burst: int = 6
    push_refill: float = 10.0
    push_in_flight: int = 32

    @property
    def connections_per_address(self) -> int:
        """The cap of one address that is in effect; 0 for none."""
        if self.connections_per_ip is not None:
            return self.connections_per_ip
        return max(LEAST_PER_ADDRESS, self.connections // 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One relay's configuration.

    Attributes:
        listen: the public listener.
        tls: what it is served with; ``None``: plain HTTP.
        proxy_headers: whose PROXY protocol header is required and believed, before TLS; ``None``:
            there is none, empty: anybody's.
        metrics_listen: where ``/metrics`` is served; ``None`` turns it off.
        trusted_proxies: whose ``X-Forwarded-For`` is believed; ``None``: nobody's, empty:
            anybody's.
        push: how wakes are sent; ``None`` turns them off.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``logfmt`` or ``json``.
    """

    listen: Address
    tls: TlsFiles | Acme | None = None
    proxy_headers: tuple[Network, ...] | None = None
    metrics_listen: Address | None = None
    trusted_proxies: tuple[Network, ...] | None = None
    push: Push | None = None
    intervals: Intervals = field(default_factory=Intervals)
    limits: Limits = field(default_factory=Limits)
    log_level: str = "info"
    log_format: str = "logfmt"
