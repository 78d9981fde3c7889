"""Every limit, interval and switch of one relay, frozen at start.

Other modules take these values as arguments, so that a test can use milliseconds. The defaults are
those of the protocol's limits table and of the command line.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

Network = IPv4Network | IPv6Network
KIB: Final = 1024
MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB

LEAST_MESSAGE_BYTES: Final = 125
"""The smallest permitted message limit: the decoder does not check shorter lengths."""

LEAST_PER_ADDRESS: Final = 64
"""The smallest cap of one address that is chosen where none is given."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on. An empty host means all interfaces, IPv4 and IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """TLS with a certificate that the operator renews: PEM files of the chain and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """TLS with a certificate for ``domain`` that the relay obtains and renews (RFC 8555).

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """TLS with a certificate for ``domain`` that another process obtains and renews.

    Attributes:
        file: PEM of the key and the chain; it need not exist yet.
    """

    domain: str
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # it contains a key
class ServiceAccount:
    """The fields of a service account's JSON key that the relay uses.

    Its ``token_uri`` is not used. A flag says where signed assertions are sent.

    Attributes:
        project_id: the Firebase project of the devices; safe in a URL's path.
        client_email: the account's name.
        private_key: the PEM key that signs assertions.
        private_key_id: the id of that key at Google; may be empty.
    """

    project_id: str
    client_email: str
    private_key: str
    private_key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """How wakes are sent.

    Attributes:
        account: the service account that sends them.
        endpoint: base URL of the FCM HTTP v1 API, without a slash at its end.
        token_url: the URL from which access tokens are fetched.
        ca_file: PEM file that verifies both servers; ``None``: the usual authorities.
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
        linger: how long bytes are read and dropped after a refusal, so that the peer can read it.
        close: from our close frame to the peer's.
        ping: between two pings.
        pong: from a ping to its pong.
        message: from the first byte of a message to its last.
        write: without the peer acknowledging a single byte of what waits for it.
        tls_stall: from a part of a TLS handshake message to the rest of it.
        takeover_probe: from a conflicting claim's ping to the incumbent's pong.
        grace: a server-id stays reserved after its binary has gone.
        proxy_header: from accept to a complete PROXY protocol header.
        certificate_check: between two looks at certificate files.
        certificate_reload: from one reload of certificates to the next at the earliest.
        certificate_issue: a CA may take for all it is asked, from the directory to the chain.
        drain: from the first signal until all remaining connections are dropped.
        bucket_sweep: between two evictions of idle rate-limit buckets.
        log_flood: the time in which an event is logged twenty times, and then counted.
        push_call: one HTTP call to Google.
        push_token_margin: an access token is no longer used so long before it expires.
        traffic_slice: the time in one loop iteration for all heavy connections together (see
            :mod:`fastrelay.loop.fair_reads`).
        newcomers: the time in one loop iteration for accepting, TLS handshakes and request heads.
        handover: from an admitted request to its adoption by the worker that owns its server-id.
        worker_silent: until connections for a worker that is not heard of are accepted by another.
        worker_hung: until such a worker is killed.
        worker_restart, worker_restart_most: before a worker is started again that has died twice
            within a minute, and what that doubles to.
        tick: the resolution of the intervals that the timer wheel measures.
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
    certificate_reload: float = 1.0
    certificate_issue: float = 90.0
    drain: float = 10.0
    bucket_sweep: float = 300.0
    log_flood: float = 10.0
    push_call: float = 10.0
    push_token_margin: float = 60.0
    traffic_slice: float = 0.003
    newcomers: float = 0.002
    handover: float = 2.0
    worker_silent: float = 2.0
    worker_hung: float = 10.0
    worker_restart: float = 0.1
    worker_restart_most: float = 30.0
    tick: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most of each thing that there may be.

    Attributes:
        head_bytes: one request head.
        message_bytes: one assembled message.
        phones: phones registered under one server-id.
        upgrade_burst: upgrade attempts one address may make at once; 0 turns the limit off.
        upgrade_refill: seconds until it may make one more.
        buckets: addresses remembered by the limiter.
        connections: live WebSockets, relay-wide.
        connections_of_worker: live WebSockets of one process, whose descriptors are limited.
        connections_per_ip: live WebSockets from one address; 0 for no such cap, ``None``:
            :attr:`connections_per_address` says, and local peers have no such cap.
        handshakes: connections of the public listener that are not upgraded yet; past it the oldest
            of the address with the most is dropped.
        side_handshakes: the same for each of the other listeners.
        plain_burst: plain requests and TLS handshakes one address may make at once.
        plain_refill: seconds until it may make one more.
        phone_backlog_bytes: unsent bytes held for one phone.
        held_bytes: kept in memory for all peers together, whatever for.
        phone_send_buffer: bytes that the kernel may take for one phone; 0: the kernel chooses.
        binary_send_buffer: the same for one binary.
        binary_backlog_bytes: unsent bytes for one binary at which those of its phones stop being
            read that have some of them.
        useless_frames: pings, pongs, empty fragments and malformed envelopes of one connection
            at once; more of them end it.
        useless_refill: how many more it may send a second.
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
    connections_of_worker: int = 10_000
    connections_per_ip: int | None = None
    handshakes: int = 1_000
    side_handshakes: int = 12
    plain_burst: int = 100
    plain_refill: float = 0.05
    phone_backlog_bytes: int = 4 * MIB
    held_bytes: int = 256 * MIB
    phone_send_buffer: int = 256 * KIB
    binary_send_buffer: int = MIB
    binary_backlog_bytes: int = 256 * KIB
    useless_frames: int = 1000
    useless_refill: float = 100.0
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
        tls: the certificate of the public listener; ``None``: plain HTTP.
        proxy_headers: the peers whose PROXY protocol header is believed; it is then required of
            every connection, before TLS. ``None``: no header is read; empty: any peer.
        metrics_listen: where ``/metrics`` is served; ``None`` turns it off.
        trusted_proxies: peers whose ``X-Forwarded-For`` is believed; ``None``: no peer; empty: any
            peer.
        push: how wakes are sent; ``None`` turns them off.
        workers: processes that serve; 1: there is no other process.
        supervised: there is a supervisor even with one worker.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``logfmt`` or ``json``.
        unknown_variables: environment variables named like those of the relay that are none.
    """

    listen: Address
    tls: TlsFiles | Acme | Renewed | None = None
    proxy_headers: tuple[Network, ...] | None = None
    metrics_listen: Address | None = None
    trusted_proxies: tuple[Network, ...] | None = None
    push: Push | None = None
    intervals: Intervals = field(default_factory=Intervals)
    limits: Limits = field(default_factory=Limits)
    workers: int = 1
    supervised: bool = False
    log_level: str = "info"
    log_format: str = "logfmt"
    unknown_variables: tuple[str, ...] = ()
